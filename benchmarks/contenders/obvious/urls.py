from rest_framework.routers import SimpleRouter

from benchmarks.contenders.obvious.views import ReadingViewSet

router = SimpleRouter(trailing_slash=False)
router.register("readings", ReadingViewSet)
urlpatterns = router.urls

import hashlib

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from benchmarks.contenders.obvious.models import Device


class KeyAuthentication(BaseAuthentication):
    def authenticate(self, request):
        digest = hashlib.sha256(request.headers.get("X-API-Key", "").encode()).hexdigest()
        device = Device.objects.filter(api_key_hash=digest).first()
        if device is None:
            raise AuthenticationFailed
        return device, None

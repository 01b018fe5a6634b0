from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from benchmarks.contenders.obvious.models import Reading


class BulkSerializer(serializers.ListSerializer):
    def create(self, validated_data):
        return Reading.objects.bulk_create([Reading(**values) for values in validated_data])


class ReadingSerializer(serializers.ModelSerializer):
    device = serializers.SlugRelatedField(slug_field="device_id", read_only=True)
    rssi = serializers.FloatField(source="extra.rssi", required=False)

    class Meta:
        model = Reading
        fields = ["id", "device", "timestamp", "temperature", "humidity", "voltage", "rssi"]
        list_serializer_class = BulkSerializer


class ReadingViewSet(viewsets.ModelViewSet):
    queryset = Reading.objects.all()
    serializer_class = ReadingSerializer

    def perform_create(self, serializer):
        serializer.save(device=self.request.user)

    @action(detail=False, methods=["post"])
    def batch(self, request):
        serializer = self.get_serializer(data=request.data, many=True)
        serializer.is_valid(raise_exception=True)
        self.perform_create(serializer)
        return Response({"accepted": len(serializer.validated_data)}, status=status.HTTP_201_CREATED)

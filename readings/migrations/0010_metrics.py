import django.core.validators
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from devices.database.reversible import CreateKeptModel

IN_USE = "SELECT DISTINCT json_object_keys(latest::json) FROM devices_devicestate"
IN_USE_SQLITE = "SELECT DISTINCT entry.key FROM devices_devicestate CROSS JOIN json_each(latest) AS entry"


def add_names(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Adds the names that devices have already. Upkeep adds those that come later."""
    from readings.catalogue.names import METRICS_MAX, add_common

    add_common(apps)
    metrics = apps.get_model("readings", "Metric").objects
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(IN_USE if schema_editor.connection.vendor == "postgresql" else IN_USE_SQLITE)
        names = {name for (name,) in cursor.fetchall()}.difference(metrics.values_list("name", flat=True))
    room = max(0, METRICS_MAX - metrics.count())
    metrics.bulk_create(metrics.model(name=name) for name in sorted(names)[:room])


def remove_what_nobody_described(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The reverse of `add_names`: only what people wrote has to be kept."""
    from readings.catalogue.names import remove_undescribed

    remove_undescribed(apps)


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0008_alarm_positions"),
        ("readings", "0009_rejections_differ_by_detail"),
    ]

    operations = [
        CreateKeptModel(
            name="Metric",
            fields=[
                ("name", models.CharField(max_length=63, primary_key=True, serialize=False)),
                (
                    "label",
                    models.CharField(
                        blank=True,
                        help_text="Empty: the name.",
                        max_length=60,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]*\\Z",
                                "Write one line, without tabs and other control characters.",
                                code="control_character",
                            )
                        ],
                    ),
                ),
                (
                    "unit",
                    models.CharField(
                        blank=True,
                        help_text="Such as °C, hPa or ppm.",
                        max_length=20,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]*\\Z",
                                "Write one line, without tabs and other control characters.",
                                code="control_character",
                            )
                        ],
                    ),
                ),
                (
                    "decimals",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="How many decimals are shown. Empty: as many as the value needs.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(10)],
                    ),
                ),
                (
                    "order",
                    models.PositiveSmallIntegerField(
                        db_column="sort_order",
                        default=1000,
                        help_text="Metrics with a smaller number come first; those with the same number by name.",
                        validators=[django.core.validators.MaxValueValidator(9999)],
                    ),
                ),
                (
                    "low",
                    models.FloatField(
                        blank=True,
                        help_text="Pages mark values beyond it.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-1e300),
                            django.core.validators.MaxValueValidator(1e300),
                        ],
                        verbose_name="lowest plausible value",
                    ),
                ),
                (
                    "high",
                    models.FloatField(
                        blank=True,
                        help_text="Pages mark values beyond it.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-1e300),
                            django.core.validators.MaxValueValidator(1e300),
                        ],
                        verbose_name="highest plausible value",
                    ),
                ),
            ],
            options={
                "default_permissions": ("view", "change"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("low", None), ("high", None), ("low__lt", models.F("high")), _connector="OR"
                        ),
                        name="readings_metric_range",
                        violation_error_message="The lowest plausible value must be less than the highest.",
                    )
                ],
            },
        ),
        migrations.RunPython(add_names, remove_what_nobody_described),
    ]

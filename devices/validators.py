from django.core.validators import RegexValidator

DEVICE_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"

# \Z, not $: that would let a trailing line feed through.
validate_device_id = RegexValidator(
    rf"^{DEVICE_ID_PATTERN}\Z",
    "A device id is 1 to 64 letters, digits and . _ : -, and starts with a letter or a digit.",
    code="invalid_device_id",
)

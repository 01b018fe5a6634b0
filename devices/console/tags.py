"""Tags in the console: of one device in its form, and given to or taken from many devices at once. It asks first."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from devices.access.callers import viewer_of
from devices.changes.log import account, log_changed
from devices.console.activation import NAMED, digest
from devices.models import Device, Tag
from devices.plurals import counted
from devices.querysets import DeviceQuerySet, Viewer
from devices.tags.names import TAGS_MAX, TAGS_OF_DEVICE_MAX, distinct, key_of, split_names, validate_tag_name
from devices.tags.tagging import (
    OutsideLimit,
    TooManyTags,
    UnknownTags,
    add_tag,
    check_limit,
    remove_tag,
    set_tags,
    tags_named,
    tags_of,
)

ADD_TAGS = "devices.add_tag"
# Tags of a device that a list shows, and tags that the filter of a list and the suggestions of a form have.
SHOWN = 2
CHOICES = 200


class TagNamesFormField(forms.CharField):
    """Names separated by commas; `clean` returns them as a list. The order of the names is no change."""

    most = TAGS_OF_DEVICE_MAX

    def __init__(self, **kwargs: Any) -> None:
        help_text = "Names separated by commas, such as greenhouse-3, roof. A new name makes a new tag."
        super().__init__(label="Tags", required=False, help_text=help_text, **kwargs)
        self.widget.attrs["class"] = "vTextField"

    def clean(self, value: Any) -> list[str]:
        names = list(distinct(split_names(super().clean(value))).values())
        for name in names:
            validate_tag_name(name)
        if len(names) > self.most:
            raise ValidationError(f"There may be {self.most} tags here.", code="too_many_tags")
        return names

    def has_changed(self, initial: Any, data: Any) -> bool:
        return distinct(split_names(initial or "")).keys() != distinct(split_names(data or "")).keys()


class DeviceForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """The fields of a device with its tags. `may_add_tags`: whether a new name makes a new tag.

    `viewer`: who fills in the form, and may be limited to tags.
    """

    may_add_tags = False
    viewer: Viewer | None = None
    tag_names = TagNamesFormField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.created_at is not None:
            self.initial["tag_names"] = ", ".join(tag.name for tag in self.instance.tags.order_by("key"))

    def clean_tag_names(self) -> list[str]:
        names: list[str] = self.cleaned_data["tag_names"]
        visible = Tag.objects.all() if self.viewer is None else Tag.objects.visible_to(self.viewer)
        known = set(visible.named(names).values_list("key", flat=True))
        missing = [name for name in names if key_of(name) not in known]
        if missing and not self.may_add_tags:
            raise ValidationError(
                f"There is no tag “{missing[0]}”, and this account may not add one.", code="unknown_tag"
            )
        if missing and Tag.objects.count() + len(missing) > TAGS_MAX:
            raise ValidationError(f"There may be {TAGS_MAX:,} tags.", code="too_many_tags")
        if self.viewer is not None and self.viewer.limit is not None:
            before = tags_of(self.instance) if self.instance.created_at is not None else []
            try:
                check_limit(self.viewer, before, list(Tag.objects.named(names)))
            except OutsideLimit as error:
                raise ValidationError(str(error), code="outside_limit") from error
        return names

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if (values.get("latitude") is None) != (values.get("longitude") is None):
            missing = "latitude" if values.get("latitude") is None else "longitude"
            if missing in self.fields and missing not in self.errors:
                self.add_error(missing, "A place has a latitude and a longitude, or neither.")
        return values


class TagFilter(admin.SimpleListFilter):
    title = "tag"
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        viewer = viewer_of(request.user)
        tags: Any = Tag.objects.visible_to(viewer).with_counts(viewer).by_name()[:CHOICES]
        return [(tag.name, f"{tag.name} ({tag.device_count})") for tag in tags]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        assert isinstance(queryset, DeviceQuerySet)
        chosen = self.value()
        return queryset if chosen is None else queryset.tagged([chosen])


def chip(tag: Tag) -> SafeString:
    return format_html('<span class="tag" data-colour="{}">{}</span>', tag.colour, tag.name)


class ReportsChangedTags(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Shows what was changed by others after the form was checked, such as a tag that was deleted, as a message."""

    reported: tuple[type[Exception], ...] = (OutsideLimit, TooManyTags, UnknownTags)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except self.reported as error:  # nothing of the form was saved
            self.message_user(request, f"Nothing was saved. {error}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class Tagging(ReportsChangedTags):
    """The part of the device admin that gives devices tags and takes them away."""

    @admin.display(description="tags", empty_value="")
    def tag_list(self, device: Device) -> str | None:
        """The first tags; how many more there are, with their names in the tooltip."""
        tags = list(device.tags.all())
        if not tags:
            return None
        chips = format_html_join(" ", "{}", ((chip(tag),) for tag in tags[:SHOWN]))
        if len(tags) <= SHOWN:
            return chips
        rest = ", ".join(tag.name for tag in tags[SHOWN:])
        return format_html('{} <span class="value-more" title="{}">+{}</span>', chips, rest, len(tags) - SHOWN)

    def save_tags(self, request: HttpRequest, device: Device, names: Sequence[str]) -> None:
        """Gives the device these tags, in the transaction of the form, which has checked the names.

        Raises UnknownTags, TooManyTags or OutsideLimit if tags have changed since then.
        """
        user: Any = request.user
        viewer = viewer_of(user)
        Device.objects.select_for_update(no_key=True).get(pk=device.pk)
        may_create = user.has_perm(ADD_TAGS) and viewer.limit is None
        tags = tags_named(names, may_create=may_create, by=account(user), viewer=viewer)
        set_tags(device, tags, now=timezone.now(), viewer=viewer)

    @admin.action(description="Add a tag", permissions=["change"])
    def add_tag(self, request: HttpRequest, devices: QuerySet[Device]) -> TemplateResponse | None:
        return self.retag(request, devices, adding=True)

    @admin.action(description="Remove a tag", permissions=["change"])
    def remove_tag(self, request: HttpRequest, devices: QuerySet[Device]) -> TemplateResponse | None:
        return self.retag(request, devices, adding=False)

    def retag(self, request: HttpRequest, devices: QuerySet[Device], *, adding: bool) -> TemplateResponse | None:
        """Changes the devices of which `confirmed` in the form is the digest; asks if it is that of other devices."""
        user: Any = request.user
        confirmed = request.POST.get("confirmed")
        ask = TagQuestion(request.POST if confirmed is not None else None, adding=adding, user=user)
        with transaction.atomic():
            # In the order of the ids, like rotations, which prevents deadlocks.
            chosen = Device.objects.filter(pk__in=devices.values("pk")).order_by("device_id")
            locked = list(chosen.select_for_update(no_key=True))
            same = confirmed == digest(locked)
            if same and ask.is_valid():
                try:
                    # With a savepoint, so that a tag which is made for too many devices is not kept.
                    with transaction.atomic():
                        named, viewer = [ask.cleaned_data["tag"]], viewer_of(user)
                        (tag,) = tags_named(named, may_create=ask.may_be_new, by=account(user), viewer=viewer)
                        check_all(viewer, locked, tag, adding=adding)
                        change = add_tag if adding else remove_tag
                        changed = change(locked, tag, now=timezone.now())
                        sentence = f"Added the tag {tag}." if adding else f"Removed the tag {tag}."
                        was, became = ([], [tag.name]) if adding else ([tag.name], [])
                        log_changed(changed, sentence, by=account(user), before={"tag": was}, after={"tag": became})
                except (OutsideLimit, TooManyTags, UnknownTags) as error:
                    ask.add_error("tag", str(error))
                else:
                    word, to = ("Added", "to") if adding else ("Removed", "from")
                    number = counted(len(changed), "device", "devices")
                    self.message_user(request, f"{word} the tag “{tag}” {to} {number}.", messages.SUCCESS)
                    return None
        word = "Add a tag to" if adding else "Remove a tag from"
        context: dict[str, Any] = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": f"{word} {counted(len(locked), 'device', 'devices')}",
            "form": ask,
            "suggestions": Tag.objects.visible_to(viewer_of(user)).by_name().values_list("name", flat=True)[:CHOICES]
            if adding
            else (),
            "again": confirmed is not None and not same,
            "named": locked[:NAMED],
            "more": len(locked) - NAMED,
            "confirmed": digest(locked),
            "action": "add_tag" if adding else "remove_tag",
            "select_across": request.POST.get("select_across", "0"),
            "chosen": request.POST.getlist("_selected_action"),
        }
        return TemplateResponse(request, "admin/devices/device/tagging.html", context)


def check_all(viewer: Viewer, devices: Sequence[Device], tag: Tag, *, adding: bool) -> None:
    """Raises OutsideLimit if a limited viewer may not give these devices the tag, or take it from them."""
    if viewer.limit is None:
        return
    for device in devices:
        before = tags_of(device)
        others = [other for other in before if other != tag]
        check_limit(viewer, before, [*others, tag] if adding else others)


class TagQuestion(forms.Form):
    """Which tag. One to add may be new if the account may add tags; one to remove must exist."""

    tag = forms.CharField(label="Tag")

    def __init__(self, data: Any = None, *, adding: bool, user: Any) -> None:
        super().__init__(data)
        self.viewer = viewer = viewer_of(user)
        self.may_be_new = adding and user.has_perm(ADD_TAGS) and viewer.limit is None
        if adding:
            self.fields["tag"].widget.attrs |= {"list": "tag-names", "autocomplete": "off", "autofocus": True}
        else:
            names = Tag.objects.visible_to(viewer).by_name().values_list("name", flat=True)
            self.fields["tag"].widget = forms.Select(choices=[("", "Choose a tag"), *((name, name) for name in names)])

    def clean_tag(self) -> str:
        name = str(self.cleaned_data["tag"])
        validate_tag_name(name)
        there_is = Tag.objects.visible_to(self.viewer).named([name]).exists()
        if not there_is and not self.may_be_new:
            raise ValidationError(f"There is no tag “{name}”.", code="unknown_tag")
        if not there_is and Tag.objects.count() >= TAGS_MAX:
            raise ValidationError(f"There may be {TAGS_MAX:,} tags.", code="too_many_tags")
        return name

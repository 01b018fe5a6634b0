"""An account sees, gives and takes only what its own permissions allow."""

import csv

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission, User

from devices.tests.fixtures import client_with, new_client, staff_client
from readings.tests.logs import new, store

pytestmark = [pytest.mark.django_db, pytest.mark.once]

VIEW = ("devices.view_device", "readings.view_reading")
MANAGE = ("auth.view_user", "auth.add_user", "auth.change_user", "auth.delete_user")
GROUPS = ("auth.view_group", "auth.add_group", "auth.change_group", "auth.delete_group")
PASSWORD = "another battery staple"


def permission(name):
    app, codename = name.split(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)


def text(client, path):
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


class TestReadings:
    """Values of readings are shown only to accounts that may view readings, on every page."""

    @pytest.fixture(autouse=True)
    def reading(self, device):
        store([new(temperature=21.375)])

    def shown(self, *permissions):
        client = staff_client("someone", *permissions)
        form = {"action": "export", "_selected_action": ["x"], "select_across": "1", "index": "0"}
        exported = client.post("/admin/devices/device/", form, format="multipart")
        (row,) = csv.DictReader(exported.content.decode().splitlines())
        return {
            "detail": client.get("/api/v1/devices/mote-1").json()["latest"],
            "list": client.get("/api/v1/devices").json()["results"][0]["latest"],
            "console": "latest_values" if "latest_values" in text(client, "/admin/devices/device/") else None,
            "export": row.get("temperature"),
        }

    def test_the_permission_to_view_devices_shows_none(self):
        assert self.shown("devices.view_device") == dict.fromkeys(("detail", "list", "console", "export"))

    def test_the_permission_to_view_readings_shows_them(self):
        shown = self.shown(*VIEW)
        assert [shown["detail"]["temperature"], shown["list"]["temperature"]] == [21.375, 21.375]
        assert [shown["console"], shown["export"]] == ["latest_values", "21.375"]

    def test_who_changes_a_device_is_not_answered_its_latest_reading(self):
        client = staff_client("someone", "devices.change_device")
        assert client.patch("/api/v1/devices/mote-1", {"name": "Attic"}).json()["latest"] is None

    def test_a_device_and_the_administrators_key_see_it(self, as_device, admin):
        for client in (as_device, admin):
            assert client.get("/api/v1/devices/mote-1").json()["latest"]["temperature"] == 21.375


class TestRefusedPosts:
    """Refused posts show client addresses and the beginnings of keys."""

    @pytest.fixture(autouse=True)
    def refused(self, device):
        client_with("tlm_zzzz" + "x" * 28).post("/api/v1/ingest", {"temperature": 1})

    def test_who_may_not_view_them_finds_them_nowhere(self):
        client = staff_client("someone", *VIEW)
        for path in ("/admin/", "/live/mote-1/"):
            assert "tlm_zzzz" not in text(client, path)
            assert "Refused posts" not in text(client, path)
        assert client.get("/live/mote-1/refused/").status_code == 403

    def test_who_may_finds_them(self):
        client = staff_client("someone", *VIEW, "readings.view_rejection")
        for path in ("/admin/", "/live/mote-1/", "/live/mote-1/refused/"):
            assert "tlm_zzzz" in text(client, path)

    def test_the_beginning_of_a_devices_key_is_for_whoever_may_view_the_device(self, device):
        assert device.key_hint not in text(staff_client("someone", "readings.view_reading"), "/live/mote-1/")
        assert device.key_hint in text(staff_client("another", *VIEW), "/live/mote-1/")


class TestChanges:
    """A change is shown to accounts that may view changes and the model of the changed object."""

    @pytest.fixture(autouse=True)
    def changes(self, device):
        author = User.objects.create_user("author")
        LogEntry.objects.log_actions(author.pk, [device], CHANGE, "Rotated the API key.")
        LogEntry.objects.log_actions(author.pk, [author], CHANGE, "Changed the account.")

    def seen(self, client):
        found = {}
        for path in ("/admin/", "/admin/admin/logentry/"):
            response = client.get(path)
            page = response.content.decode() if response.status_code == 200 else ""
            found[path] = ["Rotated the API key." in page, "Changed the account." in page]
        return found

    @pytest.mark.parametrize(
        ("permissions", "expected"),
        [
            (VIEW, [False, False]),
            (("admin.view_logentry", *VIEW), [True, False]),
            (("admin.view_logentry", "auth.view_user"), [False, True]),
            (("admin.view_logentry", "auth.view_user", *VIEW), [True, True]),
            (("admin.view_logentry",), [False, False]),
        ],
    )
    def test_an_account_sees_those_that_it_may(self, permissions, expected):
        seen = self.seen(staff_client("someone", *permissions))
        assert seen == {"/admin/": expected, "/admin/admin/logentry/": expected}

    def test_a_superuser_sees_all(self):
        client = staff_client("root")
        User.objects.filter(username="root").update(is_superuser=True)
        assert self.seen(client)["/admin/"] == [True, True]

    def test_an_objects_own_history_is_not_open_to_more(self, device):
        address, page = f"/admin/devices/device/{device.pk}/history/", f"/admin/devices/device/{device.pk}/change/"
        viewer = staff_client("viewer", *VIEW)
        assert viewer.get(address).status_code == 403
        assert address not in text(viewer, page)
        assert staff_client("auditor", "admin.view_logentry").get(address).status_code == 403
        both = staff_client("operator", "admin.view_logentry", *VIEW)
        assert "Rotated the API key." in text(both, address)
        assert address in text(both, page)


class TestAccounts:
    """An account that manages accounts can give no one, itself included, more than it has."""

    @pytest.fixture
    def manager(self, db):
        return staff_client("manager", *MANAGE, *GROUPS, "devices.view_device")

    @pytest.fixture
    def superiors(self, db):
        """Accounts with permissions that the manager lacks: directly, by a group, and deactivated ones."""
        boss = User.objects.create_superuser("boss", password=PASSWORD)
        retired = User.objects.create_superuser("retired", password=PASSWORD, is_active=False)
        operator = User.objects.create_user("operator", password=PASSWORD, is_staff=True)
        operator.groups.add(Group.objects.get(name="Operators"))
        former = User.objects.create_user("former", password=PASSWORD, is_staff=True, is_active=False)
        former.user_permissions.add(permission("devices.change_device"))
        return [boss, retired, operator, former]

    def form_of(self, user, **changes):
        """The form of the account's page as a browser sends it; list values are forged."""
        joined = user.date_joined
        known = {
            "username": user.username,
            "date_joined_0": f"{joined:%Y-%m-%d}",
            "date_joined_1": f"{joined:%H:%M:%S}",
            "is_active": "on",
            "is_staff": "on",
            "user_permissions": [p.pk for p in user.user_permissions.all()],
            "groups": [g.pk for g in user.groups.all()],
        }
        return {name: value for name, value in (known | changes).items() if value not in (None, [])}

    def change(self, client, user, **changes):
        return client.post(f"/admin/auth/user/{user.pk}/change/", self.form_of(user, **changes), format="multipart")

    def test_nobody_makes_themselves_superuser(self, manager):
        me = User.objects.get(username="manager")
        assert self.change(manager, me, is_superuser="on", first_name="M").status_code == 302
        me.refresh_from_db()
        assert (me.first_name, me.is_superuser) == ("M", False)

    def test_nobody_gives_a_permission_that_they_do_not_have(self, manager):
        me, colleague = User.objects.get(username="manager"), User.objects.create_user("colleague")
        for user in (me, colleague):
            before = user.get_all_permissions()
            for given in ("devices.change_device", "readings.view_reading"):
                assert self.change(manager, user, user_permissions=[permission(given).pk]).status_code == 200
            assert User.objects.get(pk=user.pk).get_all_permissions() == before
        assert (
            self.change(manager, colleague, user_permissions=[permission("devices.view_device").pk]).status_code == 302
        )
        assert User.objects.get(pk=colleague.pk).has_perm("devices.view_device")

    def test_nobody_gives_a_group_with_more_than_they_have(self, manager):
        colleague, operators = User.objects.create_user("colleague"), Group.objects.get(name="Operators")
        narrow = Group.objects.create(name="lookers")
        narrow.permissions.add(permission("devices.view_device"))
        assert self.change(manager, colleague, groups=[operators.pk]).status_code == 200
        assert self.change(manager, colleague, groups=[narrow.pk]).status_code == 302
        assert [group.name for group in colleague.groups.all()] == ["lookers"]

    def test_nobody_takes_over_or_closes_an_account_that_can_do_more(self, manager, superiors):
        for superior in superiors:
            page = f"/admin/auth/user/{superior.pk}"
            passwords = {"password1": "taken over 1234", "password2": "taken over 1234", "usable_password": "true"}
            assert self.change(manager, superior, is_active=None).status_code == 403
            assert manager.get(f"{page}/password/").status_code == 403
            assert manager.post(f"{page}/password/", passwords, format="multipart").status_code == 403
            assert manager.post(f"{page}/delete/", {"post": "yes"}, format="multipart").status_code == 403
            form = {"action": "delete_selected", "_selected_action": [superior.pk], "post": "yes"}
            manager.post("/admin/auth/user/", form, format="multipart")
            after = User.objects.get(pk=superior.pk)
            assert (after.password, after.is_active) == (superior.password, superior.is_active)
            assert "readonly" in text(manager, f"{page}/change/")

    def test_accounts_within_are_managed_as_before(self, manager):
        added = {"username": "new", "email": "new@example.org", "role": "", "limit_names": ""}
        assert manager.post("/admin/auth/user/add/", added, format="multipart").status_code == 303
        user = User.objects.get(username="new")
        assert self.change(manager, user, is_active=None).status_code == 302
        assert not User.objects.get(pk=user.pk).is_active
        passwords = {"password1": "taken over 1234", "password2": "taken over 1234", "usable_password": "true"}
        assert manager.post(f"/admin/auth/user/{user.pk}/password/", passwords, format="multipart").status_code == 302
        assert (
            manager.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"}, format="multipart").status_code == 302
        )

    def test_a_new_account_is_given_nothing_by_a_forged_form(self, manager):
        form = {"username": "new", "email": "", "limit_names": ""}
        beyond = Group.objects.get(name="Operators").pk
        page = manager.post("/admin/auth/user/add/", form | {"role": beyond}, format="multipart")
        assert (page.status_code, User.objects.filter(username="new").exists()) == (200, False)
        forged = {"is_superuser": "on", "groups": [beyond]}
        manager.post("/admin/auth/user/add/", form | forged, format="multipart")
        user = User.objects.get(username="new")
        assert (user.is_superuser, user.groups.count()) == (False, 0)

    def test_groups_are_no_way_round_it(self, manager):
        mine = Group.objects.create(name="mine")
        User.objects.get(username="manager").groups.add(mine)
        beyond, within = permission("devices.change_device").pk, permission("devices.view_device").pk
        page = f"/admin/auth/group/{mine.pk}/change/"
        assert manager.post(page, {"name": "mine", "permissions": [beyond]}, format="multipart").status_code == 200
        assert manager.post(page, {"name": "mine", "permissions": [within]}, format="multipart").status_code == 302
        form = {"name": "another", "permissions": [beyond]}
        assert manager.post("/admin/auth/group/add/", form, format="multipart").status_code == 200
        assert not Group.objects.filter(name="another").exists()
        operators = Group.objects.get(name="Operators")
        for path in ("change", "delete"):
            form = {"name": "Operators", "permissions": [within], "post": "yes"}
            address = f"/admin/auth/group/{operators.pk}/{path}/"
            assert manager.post(address, form, format="multipart").status_code == 403
        assert Group.objects.get(name="Operators").permissions.count() > 1

    def test_a_superuser_does_all_of_it(self, superiors):
        root = new_client()
        root.force_login(User.objects.get(username="boss"))
        operator = superiors[2]
        assert self.change(root, operator, is_superuser="on").status_code == 302
        assert User.objects.get(pk=operator.pk).is_superuser

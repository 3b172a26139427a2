import pytest

from runtime.bundles.errors import BundleError
from runtime.bundles.reader import FACTORY, read_bundle
from runtime.bundles.settings import ModelsSettings
from runtime.bundles.state import read_state
from runtime.bundles.trial import ModelStore
from tests.runtime.bundle_samples import MODEL
from tests.runtime.models_device import Device
from tests.runtime.signing_samples import LINE, archive_of, signed, unpacked


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """A small factory bundle: the real one takes longer to read."""
    return unpacked(tmp_path_factory.mktemp("factory") / "factory", name="plain")


@pytest.fixture
def device(tmp_path, factory):
    return Device(tmp_path, factory)


def test_with_nothing_installed_the_factory_serves(device):
    daemon = device.start()
    assert (daemon.chosen.source, daemon.chosen.slot, daemon.chosen.notice, daemon.chosen.on_trial) == ("factory", None, None, False)
    assert daemon.chosen.bundle.manifest.name == "plain"
    assert not device.models.exists()
    assert not daemon.changed()
    daemon.confirm()
    daemon.stopped()
    assert not daemon.failed("nothing")
    assert not device.models.exists()
    assert daemon.installed() == []


def test_the_factory_inside_the_program_is_the_default(tmp_path):
    assert ModelStore(tmp_path / "models", ModelsSettings()).choose().bundle.id == read_bundle(FACTORY).id


def test_installing_changes_nothing_yet(device):
    slot = device.send(1)
    assert device.start().chosen.source == "factory"
    assert device.links() == {"active": None, "previous": None}
    assert [(each.slot, each.name, each.release, each.active, each.problem) for each in device.store().installed()] == [
        (slot, "dark", 1, False, None)
    ]
    assert (device.models / "slots" / slot).stat().st_mode & 0o777 == 0o755


def test_installing_again_changes_nothing(device):
    slot = device.send(1)
    before = (device.models / "slots" / slot).stat()
    file = device.folder / "again.bundle"
    file.write_bytes(archive_of(device.folder / "sent" / "dark-1"))
    assert device.store().install(file)[0] == slot
    assert (device.models / "slots" / slot).stat().st_ino == before.st_ino


def test_a_damaged_slot_is_mended_by_installing_again(device):
    slot = device.serve(1)
    (device.models / "slots" / slot / MODEL).write_bytes(b"rust")
    daemon = device.start()
    assert daemon.chosen.source == "factory"
    assert "SHA-256" in daemon.chosen.notice or "bytes, the manifest says" in daemon.chosen.notice
    assert device.store().installed()[0].problem
    device.store().install(device.folder / "sent" / "dark-1")
    assert device.start().chosen.slot == slot


def test_a_slot_of_another_name_is_refused(device):
    slot, other = device.serve(1), device.send(2)
    (device.models / "slots" / slot).rename(device.models / "slots" / "aside")
    (device.models / "slots" / other).rename(device.models / "slots" / slot)
    assert "holds another bundle" in device.start().chosen.notice
    (device.models / "slots" / slot).rename(device.models / "elsewhere")
    (device.models / "slots" / slot).symlink_to(device.models / "elsewhere")
    assert "a link, no folder" in device.start().chosen.notice


def test_activation_is_seen_and_the_first_start_is_a_trial(device):
    daemon = device.start()
    slot = device.send(1)
    assert not daemon.changed()
    bundle = device.store().activate(slot[:8])
    assert daemon.changed()
    assert device.links() == {"active": slot, "previous": None}
    daemon.begin_trial()
    chosen = daemon.choose()
    assert (chosen.bundle.id, chosen.slot, chosen.on_trial, chosen.notice) == (bundle.id, slot, True, None)
    assert not daemon.changed()
    daemon.confirm()
    assert not daemon.changed()
    assert not device.start().chosen.on_trial


def test_activation_is_seen_where_changes_are_counted_anew(device):
    device.serve(1)
    daemon = device.start()
    assert daemon.chosen.bundle.manifest.release == 1 and not daemon.changed()
    (device.models / "state.json").write_text("{")  # damaged, and mended before anyone looked
    device.store().activate(device.send(2))
    assert read_state(device.models).change == 1
    assert daemon.changed()


def test_a_bundle_is_found_by_its_name_in_its_highest_release(device):
    device.send(1), device.send(3), device.send(1, name="other")
    assert device.store().activate("dark").manifest.release == 3
    assert device.store().activate("factory").manifest.name == "plain"
    for wanted in ("nobody", "", "..", "/etc", "../slots", "a" * 64):
        with pytest.raises(BundleError, match="no such slot"):
            device.store().activate(wanted)


def test_a_bundle_that_is_not_proven_is_not_activated(device):
    slot = device.send(1)

    def check(bundle):
        raise BundleError(f"{bundle.id}: not proven: nothing helps")

    with pytest.raises(BundleError, match="not proven"):
        device.store().activate(slot, check)
    assert device.start().chosen.source == "factory"
    assert device.links() == {"active": None, "previous": None}


def test_three_crashes_roll_back_to_the_bundle_that_served_well(device):
    good = device.serve(1)
    bad = device.send(2)
    device.store().activate(bad)
    for _ in range(3):
        daemon = device.start()  # and crashes
        assert (daemon.chosen.slot, daemon.chosen.on_trial) == (bad, True)
    daemon = device.start()
    assert (daemon.chosen.slot, daemon.chosen.on_trial) == (good, False)
    assert "started 3 times" in daemon.chosen.notice and bad[:12] in daemon.chosen.notice
    assert device.links() == {"active": good, "previous": None}
    assert device.start().chosen.notice == daemon.chosen.notice  # until somebody has read it
    daemon.dismiss_notice()
    assert device.start().chosen.notice is None


def test_without_one_that_served_well_the_factory_is_rolled_back_to(device):
    device.store().activate(device.send(1))
    for _ in range(3):
        device.start()
    daemon = device.start()
    assert daemon.chosen.source == "factory"
    assert "rolled back to the factory's" in daemon.chosen.notice
    assert device.links() == {"active": None, "previous": None}


def test_a_bundle_that_never_served_well_is_none_to_roll_back_to(device):
    good, first, second = device.serve(1), device.send(2), device.send(3)
    device.store().activate(first)
    device.start()
    device.store().activate(second)
    assert device.links() == {"active": second, "previous": good}
    for _ in range(4):
        daemon = device.start()
    assert daemon.chosen.slot == good


def test_starts_that_end_in_good_order_are_not_held_against_it(device):
    slot = device.send(1)
    device.store().activate(slot)
    for _ in range(6):
        daemon = device.start()
        assert daemon.chosen.slot == slot
        daemon.stopped()
    device.start(), device.start(), device.start()
    assert device.start().chosen.source == "factory"


def test_three_failed_checks_roll_back(device):
    good, bad = device.serve(1), device.send(2)
    device.store().activate(bad)
    for number in range(3):
        daemon = device.start()
        assert daemon.chosen.slot == bad
        assert daemon.failed("its golden check failed") == (number == 2)
        instead = daemon.choose()
        assert (instead.slot, instead.on_trial) == (good, False)
        assert "its golden check failed" in instead.notice
        daemon.confirm()  # of another one: it is not the bad one's
        daemon.stopped()
    assert device.start().chosen.slot == good
    assert "failed 3 times" in device.start().chosen.notice


def test_a_bundle_that_served_well_can_fail_too(device):
    device.serve(1)
    for number in range(3):
        daemon = device.start()
        assert daemon.failed("the disk is worn") == (number == 2)
        assert daemon.choose().source == "factory"
    assert device.start().chosen.source == "factory"


def test_a_failure_of_the_one_rolled_back_to_leads_to_the_factory(device):
    device.serve(1)
    device.store().activate(device.send(2))
    daemon = device.start()
    daemon.failed("one")
    daemon.choose()
    daemon.failed("two")
    chosen = daemon.choose()
    assert chosen.source == "factory"
    assert "one" in chosen.notice and "two" in chosen.notice


def test_activating_it_again_is_another_chance(device):
    slot = device.send(1)
    device.store().activate(slot)
    daemon = device.start()
    daemon.failed("too hot")
    assert daemon.choose().source == "factory"
    device.store().activate(slot)
    assert daemon.changed()
    daemon.begin_trial()
    assert daemon.choose().slot == slot


def test_a_person_rolls_back_and_forth(device):
    first, second = device.serve(1), device.serve(2)
    assert device.links() == {"active": second, "previous": first}
    assert device.store().roll_back() == first
    assert (device.start().chosen.slot, device.start().chosen.on_trial) == (first, False)  # an older release: a person may
    assert device.store().roll_back() == second
    assert device.store().roll_back() == first
    device.store().activate("factory")
    assert device.start().chosen.source == "factory"
    assert device.store().roll_back() == first


def test_there_is_nothing_to_roll_back_from_the_factory(device):
    for release in (1, 2):
        with pytest.raises(BundleError, match="nothing to roll back"):
            device.store().roll_back()
        device.send(release)


def test_an_older_release_is_refused_for_good(device):
    device.serve(5)
    old = device.folder / "sent" / "dark-4"
    signed(old, 4)
    for _ in range(2):
        with pytest.raises(BundleError, match="release 4 is older than 5, which served here"):
            device.store().install(old)
        device.store().activate("factory")  # does not help
    assert device.send(4, name="other")  # of another name it is no older one


def test_an_older_release_that_was_installed_before_is_not_activated(device):
    old = device.send(4)
    new = device.serve(5)
    with pytest.raises(BundleError, match="older than 5"):
        device.store().activate(old)
    assert device.links() == {"active": new, "previous": None}


def test_a_newer_release_that_never_served_well_does_not_bar_the_way_back(device):
    good = device.serve(4)
    bad = device.send(5)
    device.store().activate(bad)
    assert [device.start().failed("its golden answers are wrong") for _ in range(3)] == [False, False, True]
    device.store().activate("factory")
    device.store().activate(good)
    assert device.links()["active"] == good


def test_a_key_that_is_no_longer_trusted_ends_its_bundles_service(device):
    device.serve(1)
    daemon = device.start()
    assert daemon.chosen.source == "slot"
    chosen = ModelStore(device.models, ModelsSettings(), factory=device.factory).choose()
    assert chosen.source == "factory"
    assert "trusted are: none" in chosen.notice
    lost = ModelsSettings(trusted_keys=["/nowhere/keys"])
    assert "/nowhere/keys" in ModelStore(device.models, lost, factory=device.factory).choose().notice


def test_a_configured_bundle_serves_instead_of_all(device):
    device.serve(1)
    mine = unpacked(device.folder / "mine", name="mine")
    daemon = device.start(configured=mine)
    assert (daemon.chosen.source, daemon.chosen.bundle.manifest.name, daemon.chosen.notice) == ("configured", "mine", None)
    assert not daemon.changed()
    assert not daemon.failed("whatever")
    (mine / MODEL).unlink()
    daemon = device.start(configured=mine)
    assert (daemon.chosen.source, MODEL in daemon.chosen.notice) == ("factory", True)


def test_few_slots_are_kept_and_never_less_than_active_and_previous(device):
    first, second = device.serve(1), device.serve(2)
    spare = [device.send(release) for release in (3, 4, 5)]
    kept = {each.slot for each in device.store().installed()}
    assert kept == {first, second, spare[-2], spare[-1]}  # the one just installed, and one more (kept_slots)
    assert device.links() == {"active": second, "previous": first}


def test_settings_name_a_trial():
    assert (ModelsSettings().trial_starts, ModelsSettings(trusted_keys=[LINE]).trusted().keys != {}) == (3, True)

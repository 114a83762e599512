"""The iOS driver on stand-in iPhones: a measurement on each side of the tunnel, and every fault."""

import asyncio
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from iphone_phone import Lab, Phone, Thermal, Trust
from iphone_station import STRIKABLE, Station, a_station, impatient, station
from launches import GOLDEN, arrays, request
from runner_conformance import IMAGES, logits, one_launch

from distillfarm.agent.drivers.fault import Fault, PhoneFault
from distillfarm.agent.drivers.ios import faults
from distillfarm.agent.drivers.ios.apps import BUNDLE
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.meters import UNMEASURED
from distillfarm.agent.drivers.ios.protocol import Identity
from distillfarm.agent.gates import GatesShut
from distillfarm.agent.protocols import Launched
from distillfarm.agent.runners.coreai import CoreAiRunner
from distillfarm.domain.errors import Blame, DeviceFelled, DeviceNotReady
from distillfarm.domain.hardware import Platform
from distillfarm.domain.measurement import Measurement, Outcome

__all__ = ["impatient", "station"]

CNN = GOLDEN / "cnn.onnx"


async def test_a_model_is_measured_and_no_number_of_a_stand_in_counts(station: Station) -> None:
    probed = await station.probed()
    assert probed.info.platform is Platform.IOS
    assert probed.info.emulated
    works = {str(each.target): each.works for each in probed.info.runtimes}
    assert works == {
        "onnxruntime/cpu/cpu": True,
        "litert/xnnpack/cpu": True,
        "coreml/cpu_only/cpu": False,
        "coreai/cpu_only/cpu": False,
    }
    told = await station.measure(probed, CNN, **STRIKABLE)
    assert (told.outcome, told.reason) == (Outcome.OK, "")
    assert told.emulated
    assert [len(each.samples_ns) >= 10 for each in told.launches] == [True, True]
    context = {each.name: each.value for each in told.context}
    assert context["before.thermal_state"] == "nominal"
    assert "reference app" in context["after.app_version"]
    assert {each.quantity for each in told.series} == {"physFootprint", "cpu"}
    assert all(point.value > 0 for each in told.series for point in each.points)


async def test_energy_is_not_measured_and_the_reason_says_why(station: Station) -> None:
    await station.attached.energy.start(station.driver)
    assert (await station.attached.energy.stop(())).reason == UNMEASURED


async def test_core_ml_is_refused_where_the_app_lacks_it(station: Station) -> None:
    probed = await station.probed()
    refusals = {each.target.runtime.value: each.refusal for each in probed.info.runtimes}
    assert "docs/iphone.md" in refusals["coreml"]
    # Nothing was launched for it.
    assert "needs iOS 27 or newer, this is iOS 1" in refusals["coreai"]


@pytest.mark.skipif(
    find_spec("coreai") is None, reason="no coreai: pip install 'distillfarm[coreai]'"
)
async def test_the_reference_app_runs_core_ai_and_answers_right(
    station: Station, tmp_path: Path
) -> None:
    """An iOS that is too old for Core AI is nothing to an app that runs on this computer."""
    model, target = GOLDEN / "cnn.aimodel.tar", "coreai/cpu_only"
    inputs = arrays(tmp_path, "in.npz", image=IMAGES)
    expected = arrays(tmp_path, "out.npz", logits=logits())
    job = request(model, target, inputs, expected)
    told = await one_launch(CoreAiRunner(), station.driver, *job)
    assert isinstance(told, Launched)
    assert told.launch.max_abs_error is not None
    assert told.launch.max_abs_error < 1e-4


async def refused(station: Station) -> PhoneFault:
    began_s = time.monotonic()
    with pytest.raises(PhoneFault) as caught:
        async with station.driver:
            pass
    assert time.monotonic() - began_s < 30
    return caught.value


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda phone: phone.change(trust=Trust.PENDING), faults.UNTRUSTED),
        (lambda phone: phone.change(trust=Trust.DENIED), faults.DENIED),
        (lambda phone: phone.change(locked=True), faults.LOCKED),
        (lambda phone: phone.change(developer_mode=False), faults.NO_DEVELOPER_MODE),
        (lambda phone: phone.pull_cable(), faults.GONE),
    ],
    ids=["trust pending", "trust denied", "locked", "no developer mode", "no cable"],
)
async def test_what_keeps_a_phone_from_work_is_named_with_its_remedy(
    impatient: Station, change: Callable[[Phone], None], fault: Fault
) -> None:
    async with impatient.driver:
        pass
    await asyncio.to_thread(change, impatient.phone)
    error = await refused(impatient)
    assert error.fault is fault
    assert fault.remedy in str(error)


async def test_a_phone_is_used_once_somebody_tapped_trust(impatient: Station) -> None:
    impatient.phone.change(trust=Trust.PENDING)
    assert (await refused(impatient)).fault is faults.UNTRUSTED
    impatient.phone.change(trust=Trust.GRANTED)
    async with impatient.driver:
        pass


async def test_a_developer_image_that_a_restart_removed_is_mounted(station: Station) -> None:
    probed = await station.probed()
    station.phone.restart()
    assert (await station.measure(probed, CNN)).outcome is Outcome.OK


async def test_a_phone_whose_developer_is_not_trusted_says_so(station: Station) -> None:
    station.phone.change(user_trusts_developer=False)
    with pytest.raises(PhoneFault) as caught:
        await station.probed()
    assert caught.value.fault is faults.APP_REFUSED


async def struck(station: Station, blow: Callable[[], None]) -> Measurement:
    probed = await station.probed()
    async with station.struck(blow):
        return await station.measure(probed, CNN, **STRIKABLE)


async def test_a_cable_that_is_pulled_in_mid_job_is_the_harness_fault(impatient: Station) -> None:
    with pytest.raises(PhoneFault) as caught:
        await struck(impatient, impatient.phone.pull_cable)
    assert caught.value.fault is faults.GONE
    assert caught.value.blame is Blame.HARNESS
    assert caught.value.retryable


class CountingLine(PhoneLine):
    """Counts how often a phone was waited for in vain."""

    waited_in_vain = 0

    async def back(self, lost: PhoneFault | None) -> Identity:
        given_up = self._lost is not None
        try:
            return await super().back(lost)
        except PhoneFault:
            self.waited_in_vain += not given_up
            raise


async def test_a_phone_that_stays_away_is_waited_for_once_a_job(
    iphone_lab: Lab, iphone: Phone, tmp_path: Path
) -> None:
    line = CountingLine(iphone.udid, str(iphone_lab.socket), patience_s=1.5)
    async with a_station(iphone_lab, iphone, tmp_path, line) as station:
        with pytest.raises(PhoneFault):
            await struck(station, iphone.pull_cable)
        assert line.waited_in_vain == 1
        # Nor is it for ever.
        iphone.plug_in()
        async with station.driver:
            pass


async def test_a_launch_that_the_cable_interrupted_is_begun_again(station: Station) -> None:
    def wiggle() -> None:
        station.phone.pull_cable()
        time.sleep(2)
        station.phone.plug_in()

    told = await struck(station, wiggle)
    assert told.outcome is Outcome.OK
    assert len(told.launches) == 2


@pytest.mark.parametrize("iphone", ["new_iphone"], indirect=True)  # only that one has a tunnel
async def test_a_launch_whose_tunnel_died_is_begun_again(station: Station) -> None:
    told = await struck(station, station.phone.cut_tunnel)
    assert told.outcome is Outcome.OK
    assert len(told.launches) == 2


async def test_a_launch_goes_on_in_spite_of_a_new_usbmuxd(station: Station) -> None:
    told = await struck(station, station.lab.restart_muxd)
    assert told.outcome is Outcome.OK
    assert len(told.launches) == 2


async def test_a_restart_in_mid_launch_felled_the_phone(station: Station) -> None:
    with pytest.raises(DeviceFelled):
        await struck(station, station.phone.restart)


async def test_an_updated_phone_is_probed_anew(station: Station) -> None:
    await station.probed()
    station.phone.update("17.6.1" if station.phone.identity.system.has_tunnel else "16.7.8", "9X1")
    assert (await refused(station)).fault is faults.UPDATED
    assert (await station.probed()).info.os_build == "9X1"


async def test_a_crash_of_the_model_is_its_outcome_in_the_words_of_the_report(
    station: Station,
) -> None:
    probed = await station.probed()
    told = await station.measure(probed, GOLDEN / "crashing.tflite", "litert/xnnpack")
    assert told.outcome is Outcome.CRASHED
    assert "EXC_" in told.reason


async def test_memory_that_ran_short_is_the_outcome(station: Station) -> None:
    told = await struck(station, lambda: station.phone.jetsam(BUNDLE))
    assert told.outcome is Outcome.OUT_OF_MEMORY


async def test_a_phone_that_saves_power_is_not_measured(station: Station) -> None:
    station.phone.change(low_power_mode=True)
    probed = await station.probed()
    with pytest.raises(PhoneFault) as caught:
        await station.measure(probed, CNN)
    assert caught.value.fault is faults.LOW_POWER


async def test_power_saved_since_the_last_look_spoils_a_launch(station: Station) -> None:
    probed = await station.probed()
    await station.measure(probed, CNN, launches=1)
    station.phone.change(low_power_mode=True)
    with pytest.raises(PhoneFault) as caught:
        await station.measure(probed, CNN, launches=1)
    assert caught.value.fault is faults.LOW_POWER


async def test_a_phone_that_got_hot_since_the_last_look_is_not_measured(station: Station) -> None:
    probed = await station.probed()
    await station.measure(probed, CNN, launches=1)
    station.phone.change(thermal=Thermal.SERIOUS)
    with pytest.raises(DeviceNotReady, match="thermal state serious"):
        await station.measure(probed, CNN, launches=1)


async def test_a_hot_phone_is_not_measured(station: Station) -> None:
    station.phone.change(thermal=Thermal.SERIOUS)
    probed = await station.probed()
    with pytest.raises(GatesShut) as caught:
        await station.measure(probed, CNN)
    assert caught.value.reasons["throttling"] == "thermal state serious"


async def test_a_model_that_heats_the_phone_beyond_measure_is_told_so(station: Station) -> None:
    told = await struck(station, lambda: station.phone.change(thermal=Thermal.SERIOUS))
    assert told.outcome is Outcome.OVERHEATED
    assert len(told.launches) == 1

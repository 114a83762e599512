"""The reference app on a stand-in iPhone answers a job with real inference, as the phone fares."""

import asyncio
import hashlib
from pathlib import Path

from iphone_fixtures import services
from iphone_phone import Phone, Thermal, write_package
from iphone_phone.reference_app import BUNDLE, reference_app
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from distillfarm.agent.drivers.ios import job_files
from distillfarm.agent.program.order import Order
from distillfarm.agent.runners import reports

MODEL = Path(__file__).parents[1] / "golden/launch_models/cnn.onnx"
NONCE = "5f0c1b7e9a2d4c6f8e1b3a5d7c9f0e2a"
_APP_S = 60.0


async def test_a_job_is_run_and_answered(iphone: Phone, tmp_path: Path) -> None:
    model, answer = MODEL.read_bytes(), "/Documents/jobs/a1/result.json"
    order = Order("onnxruntime", "cpu", "jobs/a1/cnn.onnx", "", "", 1, 2, 5, 1.0)
    job = job_files.job_of(order, "a1", NONCE, hashlib.sha256(model).hexdigest())
    package = write_package(tmp_path / "app.ipa", reference_app(), [iphone.udid])
    iphone.change(thermal=Thermal.FAIR)
    async with services(iphone) as provider:
        async with InstallationProxyService(provider) as apps:
            await apps.install_from_local(package, developer=True)
        async with await HouseArrestService.create(provider, BUNDLE) as container:
            await container.makedirs("/Documents/jobs/a1")
            await container.set_file_contents("/Documents/jobs/a1/cnn.onnx", model)
            await container.set_file_contents("/Documents/jobs/a1/job.json", job_files.encode(job))
            async with DvtProvider(provider) as dvt, ProcessControl(dvt) as control:
                await control.launch(BUNDLE, arguments=["--job", "a1"])
                async with asyncio.timeout(_APP_S):
                    # The app tells nobody that it has answered.
                    while not await container.exists(answer):  # noqa: ASYNC110
                        await asyncio.sleep(0.2)
            result = job_files.decode_result(await container.get_file_contents(answer), job)
    assert isinstance(result.events[-1], reports.FINAL)
    assert result.before.thermal is job_files.Thermal.FAIR
    assert not result.before.low_power_mode

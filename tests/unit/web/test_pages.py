"""The pages show what the store holds, escape what users wrote, and keep strangers out."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace

import farm_samples as samples
import pytest
from made_trials import exported_of, looked_into, make_trial
from small_farm import CHIPSET, HOSTILE, LOG, STUDY
from starlette.testclient import TestClient

from distillfarm.controller.health import Vitals
from distillfarm.controller.metrics import FarmMetrics
from distillfarm.controller.store.protocol import Store
from distillfarm.controller.web.app import create_app
from distillfarm.domain.agent import JobResult
from distillfarm.domain.hardware import Cluster, DeviceHealth, Gpu
from distillfarm.domain.ids import fresh_id
from distillfarm.domain.job import Lease, MeasureSpec, Mode
from distillfarm.domain.measurement import (
    Energy,
    Outcome,
    Reported,
    Series,
    SeriesPoint,
    ToolRun,
)
from distillfarm.wire.blobs import BlobStore

PAGES = ["/", f"/studies/{STUDY}", "/matrix"]
HERE = "http://127.0.0.1:7544"
USER, AGENT = "user-secret", "agent-secret"


def authenticate(secret: str) -> tuple[str, str] | None:
    return {USER: ("me", "user"), AGENT: ("agent-1", "agent")}.get(secret)


@pytest.fixture
def client(farm: Store, blobs: BlobStore) -> Iterator[TestClient]:
    app = create_app(farm, blobs, metrics=FarmMetrics().app(), clock=lambda: 160.0)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def guarded(farm: Store, blobs: BlobStore) -> Iterator[TestClient]:
    app = create_app(farm, blobs, authenticate=authenticate, metrics=FarmMetrics().app())
    with TestClient(
        app,
        base_url="https://farm.example",
        follow_redirects=False,
        headers={"accept": "text/html"},
    ) as client:
        yield client


def device_path(farm: Store) -> str:
    return f"/devices/{farm.devices()[0].device_id}"


def test_the_overview_lists_devices_and_studies(client: TestClient, farm: Store) -> None:
    page = client.get("/").text
    assert f'href="{device_path(farm)}"' in page
    assert "1 min ago" in page
    assert f'href="/studies/{STUDY}"' in page
    assert 'class="tag done"' in page
    assert 'class="tag pass"' in page


def test_a_study_shows_its_choice_its_trials_and_its_events(client: TestClient) -> None:
    page = client.get(f"/studies/{STUDY}").text
    assert "warm_p90&lt;=10ms" in page
    assert "0.023 is far below 10" in page
    assert "136498 parameters" in page
    assert "0.0210 [0.0" in page
    assert "not measured: no meter here" in page
    assert "off by 0.3" in page
    assert "reading the model" in page
    rows = re.findall(r'<tr class="(front)? ?(chosen)?">\s*<td>([^ <]+)', page)
    assert [name for front, _, name in rows if front] == ["original", "prune(ratio=0.5)"]
    assert [name for _, chosen, name in rows if chosen] == ["prune(ratio=0.5)"]


def test_an_unbounded_interval_is_shown_as_unknown(client: TestClient) -> None:
    assert "1.79" not in client.get(f"/studies/{STUDY}").text


def test_a_finished_study_stands_still_and_the_overview_refreshes(client: TestClient) -> None:
    assert 'http-equiv="refresh"' not in client.get(f"/studies/{STUDY}").text
    assert 'http-equiv="refresh"' in client.get("/").text


def test_devices_show_their_name_why_they_are_held_and_how_they_fare(
    farm: Store, blobs: BlobStore
) -> None:
    device_id = farm.devices()[0].device_id
    farm.set_name(device_id, "left <shelf>")
    farm.set_quarantined(device_id, quarantined=True, reason=f"swollen {HOSTILE}")
    vitals = Vitals()
    vitals.put(device_id, DeviceHealth("phone-1", 40.0, 81.0, "charging", 41.2, 3, "hot"))
    app = create_app(farm, blobs, vitals=vitals, clock=lambda: 160.0)
    with TestClient(app, base_url=HERE) as client:
        for page in (client.get("/").text, client.get(device_path(farm)).text):
            assert "left &lt;shelf&gt;" in page
            assert 'class="tag quarantined"' in page
            assert "swollen &lt;script&gt;" in page
            assert "81 % charging" in page
            assert "41.2 °C, severe throttling" in page
        assert "2 min ago" in page


def test_a_device_shows_its_clusters_graphics_and_libraries(
    client: TestClient, farm: Store
) -> None:
    info = replace(
        farm.devices()[0].info,
        codename="husky",
        clusters=(Cluster(1_704_000, (0, 1, 2, 3)), Cluster(2_914_000, (8,))),
        gpu=Gpu("ARM", "Mali-G715", "v1.r43p0"),
        npu_libraries=("libedgetpu_util.so",),
    )
    farm.report_devices("agent-1", [info], 200.0)
    page = client.get(device_path(farm)).text
    for text in ("husky", "4x1.70 GHz", "mask 100", "ARM Mali-G715", "v1.r43p0", "libedgetpu"):
        assert text in page


def measure(farm: Store, **more: object) -> str:
    """A measurement of its own; gives the path of its page."""
    (device,) = farm.devices()
    job = farm.submit(samples.request(fresh_id("key")), 110.0)
    (lease,) = farm.grant([(job.job_id, device.device_id)], 111.0, 30.0)
    taken = replace(samples.measurement(lease), **more)  # type: ignore[arg-type]
    farm.finish(JobResult(lease, taken), 112.0, 3)
    return f"/measurements/{taken.measurement_id}"


def pictures(page: str) -> list[str]:
    """The addresses of a page's pictures."""
    found = re.findall(r'<img class="plot" [^>]*src="([^"]+)"', page)
    return [html.unescape(each) for each in found]


def drawn(client: TestClient, page: str) -> list[str]:
    """The names of a page's pictures, all of which were drawn."""
    for each in pictures(page):
        answer = client.get(each)
        assert answer.status_code == 200
        assert answer.text.startswith("<svg")
    return [each.rpartition("/")[2] for each in pictures(page)]


POINTS = tuple(SeriesPoint(float(second), 30.0 + second) for second in range(9))
SERIES = Series(f"temperature {HOSTILE}", "°C", "a meter", POINTS)


def test_a_measurement_has_a_page_with_numbers_energy_and_pictures(
    client: TestClient, farm: Store
) -> None:
    metered = Energy("power rails", "", 12.5, 11.0, 0.5, 0.25, 5)
    path = measure(farm, series=(SERIES,), energy=metered)
    assert f'href="{path}"' in client.get(device_path(farm)).text
    page = client.get(path).text
    assert "new process" in page
    assert "warm p90, ms" in page
    assert "12.5 mJ, 11.0 above idle (power rails)" in page
    assert "read every 250 ms, over 5 launches, tells 0.500 mJ apart" in page
    assert HOSTILE not in page
    (picture,) = (each for each in pictures(page) if "series" in each)
    drawn = client.get(picture)
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert HOSTILE not in drawn.text
    assert client.get(f"{path}/series.svg?number=1").status_code == 404
    assert f'href="{path}"' in client.get("/matrix").text


def test_a_measurement_with_a_rival_says_who_is_faster_and_draws_the_pairs(
    client: TestClient, farm: Store
) -> None:
    raced = samples.raced(Lease("", "", "", 0, 0.0), [10**6] * 9, [2 * 10**6] * 9)
    page = client.get(measure(farm, launches=raced.launches, rival=raced.rival)).text
    assert "Against its rival: SLOWER, warm p50 +100.0 % [+100.0, +100.0]" in page
    assert 'class="tag slower"' in page
    assert "2.00 [2.00, 2.00] ms" in page
    assert samples.OTHER_DIGEST in page
    assert drawn(client, page) == ["pairs.svg", "launches.svg"]


def test_a_rival_that_did_not_end_well_is_told_with_its_reason(
    client: TestClient, farm: Store
) -> None:
    raced = samples.raced(Lease("", "", "", 0, 0.0), [10**6] * 9, [2 * 10**6] * 9)
    assert raced.rival is not None
    crashed = replace(raced.rival, outcome=Outcome.CRASHED, reason=f"in {HOSTILE}", launches=())
    path = measure(farm, launches=raced.launches, rival=crashed)
    page = client.get(path).text
    assert "ended crashed: in &lt;script&gt;" in page
    assert drawn(client, page) == ["launches.svg"]
    assert client.get(f"{path}/pairs.svg").status_code == 404


def test_launches_that_disagree_give_a_reason_and_a_picture_instead_of_a_number(
    client: TestClient, farm: Store
) -> None:
    wild = tuple(samples.launch(each * 10**6) for each in (1, 2, 3, 4, 5))
    page = client.get(measure(farm, launches=wild)).text
    assert "No number for warm latency: launches differ by" in page
    assert page.count('<td class="n"><span class="tag unstable">') == 3
    assert "launches.svg" in drawn(client, page)


def test_a_launch_without_rest_is_drawn_over_its_time(client: TestClient, farm: Store) -> None:
    hot = tuple(10**6 + 10**4 * number for number in range(100))
    launch = replace(samples.launch(), samples_ns=hot, inferences=5000, sampling_s=30.0)
    spec = MeasureSpec(launches=1, mode=Mode.SUSTAINED, duration_s=30.0)
    page = client.get(measure(farm, launches=(launch,), spec=spec)).text
    assert "sustained, without rest" in page
    assert "as many launches as asked for" in page
    assert "ms at first," in page
    assert drawn(client, page) == ["launches.svg", "course.svg"]


def test_a_tool_s_figures_are_told_in_its_own_words(client: TestClient, farm: Store) -> None:
    told = ToolRun("benchmark_model", (Reported(f"avg {HOSTILE}", 947.1, "us"),))
    page = client.get(measure(farm, launches=(), tool_runs=(told,))).text
    assert "benchmark_model in its own words" in page
    assert "947 us" in page
    assert "warm p90" not in page
    assert HOSTILE not in page
    assert 'class="tag tool"' in client.get("/matrix").text


def test_an_emulated_device_s_measurement_shows_no_number(client: TestClient, farm: Store) -> None:
    path = measure(farm, series=(SERIES,), emulated=True)
    page = client.get(path).text
    assert 'class="tag emulated"' in page
    for number in ("warm", "<img", "energy", "°C"):
        assert number not in page
    assert client.get(f"{path}/series.svg?number=0").status_code == 404
    assert 'class="tag emulated"' in client.get("/matrix").text


def test_a_device_shows_its_runtimes_and_measurements(client: TestClient, farm: Store) -> None:
    page = client.get(device_path(farm)).text
    assert "onnxruntime/cpu/cpu" in page
    assert 'class="tag works"' in page
    assert "measurement-" in page


def test_what_users_wrote_is_never_markup(client: TestClient, farm: Store) -> None:
    for path in [*PAGES, device_path(farm)]:
        page = client.get(path).text
        assert HOSTILE not in page
        assert "<script" not in page
    assert "&lt;script&gt;" in client.get(f"/studies/{STUDY}").text


def test_pages_load_nothing_from_elsewhere(client: TestClient, farm: Store) -> None:
    for path in [*PAGES, device_path(farm)]:
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert all(
            link.startswith("/")
            for link in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
        )
        assert "style=" not in answer.text
    assert "url(" not in client.get("/static/style.css").text


def test_the_matrix_is_filtered_by_its_form(client: TestClient) -> None:
    everything = client.get("/matrix").text
    assert "prune(ratio=0.5)" in everything
    nothing = client.get("/matrix", params={"chipset": "no such chipset"}).text
    assert "Nothing measured fits." in nothing
    some = client.get("/matrix", params={"chipset": CHIPSET, "label": "OK"}).text
    assert "prune(ratio=0.5)" in some
    assert "off by 0.3" not in some


def test_a_benchmark_of_its_own_is_in_the_matrix_without_a_study(client: TestClient) -> None:
    page = client.get("/matrix").text
    assert "<td>model.onnx</td>" in page
    assert 'href="/studies/"' not in page
    assert page.count('<option value="">') == 5


def test_the_plot_is_a_picture_that_runs_no_script(client: TestClient) -> None:
    answer = client.get(f"/studies/{STUDY}/pareto.svg", params={"chipset": CHIPSET})
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.text.startswith("<svg")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    missing = client.get(f"/studies/{STUDY}/pareto.svg", params={"chipset": "none"})
    assert missing.status_code == 404


def test_a_study_shows_who_pays_for_its_choice(client: TestClient, farm: Store) -> None:
    (chosen,) = (each for each in farm.trials(STUDY) if each.trial_id == "trial-2")
    told = replace(looked_into(exported_of(make_trial())), unverified="never run here")
    farm.put_trial(replace(chosen, exported=told))
    page = client.get(f"/studies/{STUDY}").text
    assert "worst of 2 classes: 7, 12.0 [10.0, 14.0] points lost" in page
    assert "left layer &lt;7&gt; alone" in page
    assert "3 KB → 800 B" in page
    assert "unverified: never run here" in page
    assert 'class="tag unverified"' in page
    drawn = list(map(client.get, pictures(page)))
    assert [each.status_code for each in drawn] == [200, 200, 200]
    assert "group &lt;night&gt;" in drawn[0].text


def test_the_bundle_is_downloaded_under_its_name(client: TestClient) -> None:
    answer = client.get(f"/studies/{STUDY}/bundle")
    assert answer.content == b"the bundle"
    assert 'filename="digits.tar"' in answer.headers["content-disposition"]


def test_a_log_is_plain_text_and_no_other_blob_is_shown(
    client: TestClient, blobs: BlobStore
) -> None:
    page = client.get(f"/studies/{STUDY}").text
    (link,) = re.findall(r'href="([^"]+)">log of int8_static', page)
    answer = client.get(link)
    assert answer.content == LOG
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    other = blobs.put_bytes(b"somebody's model")
    assert client.get(f"/studies/{STUDY}/logs/{other}").status_code == 404


def test_a_study_without_a_bundle_says_so(farm: Store, client: TestClient) -> None:
    spec = farm.study(STUDY).spec
    farm.create_study("study-2", spec, 300.0)
    answer = client.get("/studies/study-2/bundle")
    assert answer.status_code == 404
    assert "is queued and has no bundle" in answer.text
    assert "Nothing has happened yet." in client.get("/studies/study-2").text


@pytest.mark.parametrize(
    "path", ["/studies/none", "/devices/none", "/measurements/none", "/studies/none/bundle", "/no"]
)
def test_what_does_not_exist_is_a_404_page(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "<h1>404</h1>" in answer.text


def test_an_empty_farm_tells_how_to_begin(store: Store, blobs: BlobStore) -> None:
    with TestClient(create_app(store, blobs), base_url=HERE) as client:
        page = client.get("/").text
        assert "distillfarm agent" in page
        assert "distillfarm study run" in page
        assert "Nothing measured fits." in client.get("/matrix").text


def test_health_and_metrics_answer(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert "distillfarm_devices" in client.get("/metrics/").text


def test_nothing_can_be_changed(client: TestClient) -> None:
    for path in PAGES:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, path).status_code == 405


def test_without_credentials_only_this_computer_by_name_is_served(client: TestClient) -> None:
    assert client.get("/", headers={"host": "localhost:7544"}).status_code == 200
    assert client.get("/", headers={"host": "[::1]:7544"}).status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("secret", ["", "wrong", AGENT])
def test_strangers_and_agents_are_kept_out(guarded: TestClient, secret: str) -> None:
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    paths = [*PAGES, f"/studies/{STUDY}/bundle", "/metrics/", "/docs", "/openapi.json"]
    for path in paths:
        answer = guarded.get(path, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert guarded.get(path, headers=headers | {"accept": "*/*"}).status_code == 401


def test_health_needs_no_credential(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == 200


def test_a_bearer_is_let_in(guarded: TestClient) -> None:
    answer = guarded.get(f"/studies/{STUDY}", headers={"authorization": f"Bearer {USER}"})
    assert answer.status_code == 200


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(
    guarded: TestClient,
) -> None:
    refused = guarded.post("/sign-in", data={"credential": AGENT})
    assert refused.status_code == 401
    assert "set-cookie" not in refused.headers
    answer = guarded.post("/sign-in", data={"credential": USER})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "secure"))
    assert guarded.get("/").status_code == 200


def test_a_huge_sign_in_is_refused(guarded: TestClient) -> None:
    assert guarded.post("/sign-in", content=b"x" * 100_000).status_code == 413

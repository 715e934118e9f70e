"""A real Prometheus under `/prometheus`, which measures Pylon through its admin port."""

import re
import shutil
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from processes import Program, Pylon, answers, free_port, wait_until


class Prometheus(Program):
    def __init__(self, directory, scraped):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = directory / "prometheus.yml"
        config.write_text(
            "global: { scrape_interval: 500ms }\n"
            f"scrape_configs: [{{ job_name: pylon, static_configs: [{{ targets: ['{scraped}'] }}] }}]\n"
        )
        arguments = [
            shutil.which("prometheus") or pytest.fail("Prometheus is not installed; `make test` does it"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.external-url=/prometheus",
        ]
        super().__init__(arguments, directory, ready=answers(f"{self.url}/prometheus/-/ready"))


@pytest.fixture(scope="module")
def url(start):
    scraped = f"127.0.0.1:{free_port()}"
    prometheus = start(Prometheus, scraped)
    proxy = start(Pylon, {"PROMETHEUS_URI": prometheus.url, "PAI_WEB_PORTAL_URI": "http://127.0.0.1:9"}, admin=scraped)
    return f"{proxy.url}/prometheus"


def test_queries_are_answered(url):
    def measured():
        answer = requests.get(f"{url}/api/v1/query", {"query": 'up{job="pylon"}'}, timeout=60).json()
        assert answer["status"] == "success", answer
        return [result["value"][1] for result in answer["data"]["result"]] == ["1"]

    wait_until(measured, what="Prometheus reads Pylon's metrics")


def test_a_query_by_form_and_an_error(url):
    answer = requests.post(f"{url}/api/v1/query", {"query": "vector(1+1)"}, timeout=60)
    assert answer.json()["data"]["result"][0]["value"][1] == "2"
    wrong = requests.get(f"{url}/api/v1/query", {"query": "1+"}, timeout=60)
    assert (wrong.status_code, wrong.json()["errorType"]) == (400, "bad_data")


def test_pylons_metrics_are_there(url):
    def names():
        return requests.get(f"{url}/api/v1/label/__name__/values", timeout=60).json()["data"]

    wait_until(lambda: "pylon_http_requests_total" in names(), what="Pylon's metrics")


@pytest.mark.parametrize("path", ["", "/"])
def test_the_start_leads_to_a_page_on_the_public_origin(url, path):
    answer = requests.get(url + path, timeout=60)
    assert answer.history, "Prometheus redirects"
    for hop in [*answer.history, answer]:
        assert hop.url.startswith(url), hop.url
    assert answer.status_code == 200
    assert "Prometheus" in answer.text


@pytest.mark.parametrize("page", ["/graph", "/classic/graph", "/classic/targets"])
def test_pages_and_all_their_assets_load(url, page):
    answer = requests.get(url + page, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assets = re.findall(r"""<(?:script|link)[^>]+(?:src|href)=["']([^"']+)""", answer.text)
    for asset in assets:
        address = urljoin(answer.url, asset)
        assert urlsplit(address).netloc == urlsplit(url).netloc, address
        loaded = requests.get(address, timeout=60)
        assert loaded.status_code == 200, address
        assert loaded.content, address
    if page.startswith("/classic"):
        assert len(assets) > 5


def test_metrics_of_prometheus_are_compressed_on_the_way(url):
    plain = requests.get(f"{url}/metrics", headers={"Accept-Encoding": "identity"}, timeout=60)
    packed = requests.get(f"{url}/metrics", headers={"Accept-Encoding": "gzip"}, timeout=60)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "prometheus_build_info" in packed.text

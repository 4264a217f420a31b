"""userver's functional tests of its config service, and what is different with a file behind it."""

from __future__ import annotations

from conftest import ValuesFile

from mpchat.testsuite.clients import HttpResponse, ServiceClient


async def test_config(service_client: ServiceClient) -> None:
    response = await service_client.post("/configs/values", json={})
    assert response.status == 200
    assert response.json()["configs"]["USERVER_LOG_REQUEST_HEADERS"] is True


async def test_config_specific_ids(service_client: ServiceClient) -> None:
    response = await service_client.post(
        "/configs/values",
        json={
            "updated_since": "2021-06-29T14:15:31.173239295+0000",
            "ids": ["USERVER_TASK_PROCESSOR_QOS", "UNKNOWN"],
        },
    )
    assert response.status == 200
    configs = response.json()["configs"]
    assert len(configs) == 1
    assert configs["USERVER_TASK_PROCESSOR_QOS"]


async def test_what_userver_sends(service_client: ServiceClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    async def post(body: bytes) -> HttpResponse:
        return await service_client.request("POST", "/configs/values", data=body, headers=form)

    for body in (b"", b"null", b'{"service": "a", "stage_name": "b", "updated_since": ""}'):
        assert len((await post(body)).json()["configs"]) == 11
    assert (await post(b'{"ids": []}')).json()["configs"] == {}
    for body in (b"{", b"[]", b'{"ids": 1}', b'{"updated_since": "yesterday"}'):
        assert (await post(body)).status == 400


async def test_a_change(service_client: ServiceClient, values_file: ValuesFile) -> None:
    async def post(**body: str) -> HttpResponse:
        return await service_client.post("/configs/values", json=body)

    before = (await post()).json()
    since = before["updated_at"]
    # Each request may come to another worker.
    for _ in range(4):
        assert (await post(updated_since=since)).json() == {"configs": {}, "updated_at": since}
    values_file.set(USERVER_LOG_REQUEST=False)
    for _ in range(4):
        answer = (await post(updated_since=since)).json()
        assert answer["configs"] == before["configs"] | {"USERVER_LOG_REQUEST": False}
        assert answer["updated_at"] > since
    values_file.replace('{"USERVER_LOG_REQUEST": tr')
    assert (await post(updated_since=since)).status == 500
    values_file.replace("{}")
    assert (await post()).json()["configs"] == {}

"""Checks of notices by their codes."""

from typing import Any

from libs.client.client import Client
from libs.client.plain import plain
from luxor.clearance.v1 import notice_checks_pb2 as pb
from luxor.clearance.v1.notice_checks_pb2_grpc import NoticeCheckServiceStub


async def check_notice(client: Client, code: str, mrn: str) -> dict[str, Any]:
    """Return whether the code on a notice is genuine and what was paid. Roles: gateway, officer."""
    request = pb.CheckNoticeRequest(code=code, mrn=mrn)
    return plain(await client.ask("clearance", NoticeCheckServiceStub, "CheckNotice", request, pb.CheckNoticeResponse))

"""What the conformance kit sends in the cases of other calls than filings: a valid message for each, and the call itself."""

import time
from typing import Any, Final, NamedTuple

import grpc

from libs.client.errors import from_rpc
from libs.sandbox.responses.calls import BY_SUBJECT, Call, Subject, errors_of, is_accepted
from libs.server.transport.channel import options
from libs.server.transport.tls import Material, Party
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import parts_pb2

ANSWER_SECONDS: Final = 20.0
LINKING_KEY: Final = "sandbox-conformance-kit-"
"""How linking keys of parts begin; no consignment has them."""


class Answered(NamedTuple):
    """What became of one message."""

    is_accepted: bool
    reasons: set[tuple[str, str]]
    """Reason and path of each error and warning."""


def plain_channel(target: str, party: Party | Material) -> grpc.aio.Channel:
    """Return a channel that repeats no call by itself."""
    material = party.load() if isinstance(party, Party) else party
    plain = [(key, value) for key, value in options() if key not in ("grpc.service_config", "grpc.enable_retries")]
    credentials = material.channel_credentials()
    return grpc.aio.secure_channel(target, credentials, options=[*plain, ("grpc.enable_retries", 0)])


def message_of(subject: Subject, reference: str, goods: Consignment) -> Any:
    """Return a valid message with a reference, about some goods."""
    call = BY_SUBJECT[subject]
    row = getattr(call.request_class(), call.rows).add()
    setattr(row, call.reference, reference)
    if subject is Subject.SALE:
        row.paid_at.FromSeconds(int(time.time()) - 60)
        row.destination_country, row.dispatch_country = goods.destination_country, goods.dispatch_country
        row.items.extend(goods.items)
        row.freight.CopyFrom(goods.freight)
        row.consignee.CopyFrom(goods.consignee)
        row.gross_mass_mg = goods.gross_mass_mg
        row.transport.CopyFrom(goods.transport)
    elif subject is Subject.PART:
        row.role, row.linking_key = parts_pb2.PARTY_ROLE_PAYMENT_PROVIDER, LINKING_KEY + reference
        row.consignment.payment.reference = reference
    elif subject is Subject.ARRIVAL:
        row.arrived_at.FromSeconds(int(time.time()) - 60)
    elif subject is Subject.DEPARTURE:
        row.departed_at.FromSeconds(int(time.time()) - 60)
    return row


async def send(channel: grpc.aio.Channel, call: Call, row: Any, request_id: str) -> Answered:
    """Make a call with one message. Raises LuxorError."""
    request = call.request_class(request_id=request_id)
    getattr(request, call.rows).append(row)
    method: Any = channel.unary_unary(
        call.method,
        request_serializer=call.request_class.SerializeToString,
        response_deserializer=call.response_class.FromString,
    )
    try:
        response = await method(request, timeout=ANSWER_SECONDS)
    except grpc.aio.AioRpcError as raised:
        raise await from_rpc(raised) from None
    (result,) = response.results
    return Answered(is_accepted(result), {(error.reason, error.path) for error in errors_of(result)})

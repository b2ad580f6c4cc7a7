"""Request and response of RecordArrivals."""

from collections.abc import Sequence

from libs.server.errors import item_error
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.carriage.binding import Arrival
from services.clearance.commands.arrivals.record_arrivals import Recorded


class ArrivalsRequest:
    """Arrivals of a carrier as a request has them."""

    def __init__(self, arrivals: Sequence[pb.Arrival], carrier: str) -> None:
        self._arrivals = arrivals
        self._carrier = carrier
        self._errors: list[list[ItemError]] = []

    def read(self, at: int) -> list[Arrival | None]:
        """Read the arrivals at an instant, microseconds since 1970-01-01 UTC; None for one that is malformed."""
        arrivals, self._errors = requests.arrivals(self._arrivals, self._carrier, at)
        return arrivals

    def encode(self, results: Sequence[Recorded | None]) -> bytes:
        """Return the serialised response with the result of each arrival; None stands for a malformed one."""
        response = pb.RecordArrivalsResponse()
        for place, (arrival, recorded) in enumerate(zip(self._arrivals, results, strict=True)):
            if recorded is None:
                response.results.add(outcome=pb.ARRIVAL_OUTCOME_REFUSED, errors=self._errors[place])
            elif recorded.refusal:
                path, number = f"arrivals[{place}].master_document_number", arrival.master_document_number
                # Only one of the refusals names the carrier in its sentence.
                error = item_error(recorded.refusal, path, number, carrier=self._carrier)
                response.results.add(outcome=recorded.outcome, errors=[error])
            else:
                response.results.add(
                    outcome=recorded.outcome,
                    consignments=recorded.under.consignments,
                    released=recorded.under.released,
                    held=recorded.under.held,
                    waiting=recorded.under.waiting,
                    not_arrived=recorded.under.not_arrived,
                )
        return response.SerializeToString()

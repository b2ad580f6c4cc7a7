"""What the ledger's edge returns of its proofs."""

from __future__ import annotations

from libs.chain.seals import Seal
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.api.ledger_messages import seal_message, stamp_of
from services.revenue.commands.verify import ProofReport, covered
from services.revenue.store.proofs.marks import Discrepancy


def proof_message(report: ProofReport) -> pb.Proof:
    """Return what is proven as a message."""
    state = report.state
    proof = pb.Proof(
        entries=state.entries,
        postings=state.postings,
        comparisons=state.comparisons,
        # Where nothing is left, everything up to now is proven; else what was booked before the oldest entry that is left.
        proven_until=stamp_of(report.unproven_since or report.now),
        entries_left=report.left,
        seal=seal_message(Seal(state.seal, state.seal_hash, report.sealed_at) if state.seal else None),
        positions=[pb.ProvenPosition(**each) for each in covered(state)],
        discrepancies=report.discrepancies,
    )
    for name, micros in (
        ("complete_at", state.complete_at),
        ("round_began_at", state.full_began_at),
        ("round_ended_at", state.full_ended_at),
    ):
        if micros:
            getattr(proof, name).FromMicroseconds(micros)
    return proof


def discrepancy_message(discrepancy: Discrepancy) -> pb.Discrepancy:
    """Return a fault as a message."""
    return pb.Discrepancy(
        reason=discrepancy.reason,
        mrn=discrepancy.mrn,
        sentence=discrepancy.sentence,
        assessed_minor=discrepancy.assessed,
        posted_minor=discrepancy.posted,
        currency=discrepancy.currency,
        found_at=stamp_of(discrepancy.found_at),
    )

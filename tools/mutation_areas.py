"""Areas of `make mutation-test`: modules, the tests that guard them, and the share of mutants that must be caught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TARGET: Final = 0.90


@dataclass(frozen=True)
class Area:
    """Modules, the tests that guard them, and the share of mutants that must be caught."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    target: float = TARGET


AREAS: Final = {
    "identity": Area(
        ("libs/server/identity.py", "libs/server/requests.py", "libs/store/tables/requests.py"),
        ("tests/server/test_identity.py", "tests/server/test_requests.py", "tests/store/tables/test_requests.py"), 0.95,
    ),
    "debts": Area(
        ("services/clearance/consignment/debt.py",),
        ("tests/clearance/consignment/test_debt.py", "tests/clearance/consignment/test_transitions_equal_scalar.py",
         "tests/clearance/feeds/test_debt_events.py", "tests/clearance/commands/test_adjustments.py"), 0.95,
    ),
    "lifecycle": Area(
        ("services/clearance/consignment/transitions.py", "services/clearance/consignment/lifecycle/*.py",
         "services/clearance/consignment/state/*.py",
         "services/clearance/consignment/columns.py", "services/clearance/consignment/decision.py",
         "services/clearance/consignment/screening.py"),
        ("tests/clearance/consignment/state/test_state_events.py", "tests/clearance/consignment/state/test_state_equals_scalar.py",
         "tests/clearance/consignment/state/test_filing_versions.py", "tests/clearance/consignment/test_state_columns.py",
         "tests/clearance/consignment/test_screening.py",
         "tests/clearance/consignment/test_transitions.py", "tests/clearance/consignment/test_transitions_equal_scalar.py",
         "tests/clearance/consignment/test_decision.py", "tests/clearance/commands/test_decisions_and_arrivals.py",
         "tests/clearance/jobs/test_waits.py", "tests/clearance/feeds/test_screening_matches.py", "tests/clearance/feeds/test_cleared_matches.py",
         "tests/clearance/feeds/test_security_alarms.py"), 0.95,
    ),
    "feed": Area(
        ("libs/feed/**/*.py", "libs/tasks/*.py"),
        ("tests/feed", "tests/tasks", "tests/ingestion/store/test_restored_store.py", "tests/ingestion/feeds/test_feed_callers.py"), 0.95,
    ),
    "ledger": Area(
        ("libs/chain/hashing.py", "libs/chain/seals.py",
         "services/revenue/ledger/*.py", "services/revenue/commands/apply_credit.py", "services/revenue/commands/payments/payment_batch.py",
         "services/revenue/commands/payments/payout_entries.py", "services/revenue/commands/payments/record_payment.py",
         "services/revenue/commands/payments/record_payout.py", "services/revenue/commands/seal.py",
         "services/revenue/jobs/credit.py", "services/revenue/jobs/seals.py",
         "services/revenue/store/ledger/credit.py", "services/revenue/store/payments/payments.py",
         "services/revenue/store/payments/payouts.py", "services/revenue/store/payments/waiting.py",
         "services/revenue/store/proofs/chain.py", "services/revenue/store/proofs/stored_entry.py", "services/revenue/store/proofs/seals.py",
         "services/revenue/api/ledger_messages.py", "services/revenue/api/payout_messages.py"),
        ("tests/revenue/ledger", "tests/revenue/api/test_payout_messages.py"), 0.95,
    ),
    "admission": Area(
        ("libs/server/admission/gate.py", "libs/server/admission/gates.py", "libs/server/admission/slow_requests.py",
         "libs/server/interceptor/chain.py"),
        ("tests/server/admission/test_gate.py", "tests/server/admission/test_gate_rules.py", "tests/server/admission/test_gate_queues.py",
         "tests/server/admission/test_gate_decoding.py", "tests/server/admission/test_gates.py",
         "tests/server/admission/test_overload.py", "tests/server/interceptor/test_chain.py", "tests/server/interceptor/test_chain_steps.py",
         "tests/server/interceptor/test_chain_messages.py")),
    "law": Area(
        ("services/revenue/law/**/*.py",),
        ("tests/revenue/law/test_charge_clauses.py", "tests/revenue/law/test_rulebook_clauses.py",
         "tests/revenue/law/test_law_file_clauses.py", "tests/revenue/law/test_law_texts.py", "tests/revenue/law/test_law_arithmetic.py",
         "tests/revenue/law/test_rate_grammar.py", "tests/revenue/law/test_columns_at_edges.py",
         "tests/revenue/law/test_limits_at_edges.py", "tests/revenue/law/test_law_answers.py", "tests/revenue/law/test_quantities.py",
         "tests/revenue/law/test_beneficiaries.py", "tests/revenue/law/test_compiled_law.py", "tests/revenue/law/test_law_parts.py",
         "tests/revenue/law/test_charge_accounts.py", "tests/revenue/law/test_charge_checks.py", "tests/revenue/law/test_bad_rulebooks.py",
         "tests/revenue/law/test_bad_limits.py", "tests/revenue/law/test_rates_in_bands.py", "tests/revenue/law/test_inverse_rates.py",
         "tests/revenue/law/test_overlay.py", "tests/revenue/law/test_drafts.py", "tests/revenue/law/test_charges.py",
         "tests/revenue/law/test_limits.py", "tests/revenue/law/test_bases_of_sums.py", "tests/revenue/law/test_securing.py",
         "tests/revenue/law/test_remarks.py", "tests/revenue/law/test_review.py", "tests/revenue/law/test_rules_that_fit.py",
         "tests/revenue/law/test_groups.py", "tests/revenue/law/test_law.py", "tests/revenue/law/test_law_at_its_edges.py",
         "tests/revenue/law/test_vat_of_the_union.py", "tests/revenue/law/test_jurisdictions_b.py",
         "tests/revenue/law/test_columns_equal_scalar.py", "tests/revenue/law/test_charges_equal_scalar.py",
         "tests/revenue/law/test_limits_equal_scalar.py", "tests/revenue/law/test_published_cases.py",
         "tests/revenue/law/test_law_of_few_charges.py"),
    ),
    "validation": Area(
        ("services/ingestion/filing/validation.py", "services/ingestion/filing/findings.py",
         "services/ingestion/filing/elements.py", "libs/bounds/*.py"),
        ("tests/ingestion/filing/test_validation.py", "tests/ingestion/filing/test_element_forms.py",
         "tests/ingestion/filing/test_validation_clauses.py", "tests/ingestion/filing/test_validation_batches.py",
         "tests/ingestion/api/test_service.py", "tests/bounds", "tests/contract/test_hostile_requests.py")),
    "selection": Area(
        ("services/risk/selection/*.py",),
        ("tests/risk/selection/test_selection_clauses.py", "tests/risk/selection/test_selection_counts.py",
         "tests/risk/selection/test_selection_plan.py", "tests/risk/selection/test_selection_reasons.py", "tests/risk/selection/test_selection.py",
         "tests/risk/selection/test_selection_by_model.py",
         "tests/risk/selection/test_selection_draws.py", "tests/risk/selection/test_selection_bounds.py",
         "tests/risk/selection/test_selection_parameters.py", "tests/risk/selection/test_selection_preloading.py",
         "tests/risk/inspections/test_inclusion.py", "tests/risk/selection/test_inclusion_amended.py")),
    "cells": Area(
        ("services/statistics/counting/cells.py", "services/statistics/commands/count.py", "services/statistics/store/cells.py"),
        ("tests/statistics",)),
}  # fmt: skip

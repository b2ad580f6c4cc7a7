"""Selection by an office's capacity: lanes with their reasons, and what is recommended before loading."""

from services.risk.selection.allotments import Allotments
from services.risk.selection.batch import DRAWS, Cause, NewDraws, PriorDraws, Selected, SelectionBatch
from services.risk.selection.chances import CELLS, VECTOR_BYTES, Chances
from services.risk.selection.draws import Draw, SeedMissing, commitment, draws, periods_of, shares
from services.risk.selection.parameters import Lane, ParameterError, Parameters, load_parameters
from services.risk.selection.preloading import Referral, Referrals, refer
from services.risk.selection.select import select
from services.risk.selection.tally import Tally, TallyRecord

__all__ = [
    "CELLS",
    "DRAWS",
    "VECTOR_BYTES",
    "Allotments",
    "Cause",
    "Chances",
    "Draw",
    "Lane",
    "NewDraws",
    "ParameterError",
    "Parameters",
    "PriorDraws",
    "Referral",
    "Referrals",
    "SeedMissing",
    "Selected",
    "SelectionBatch",
    "Tally",
    "TallyRecord",
    "commitment",
    "draws",
    "load_parameters",
    "periods_of",
    "refer",
    "select",
    "shares",
]

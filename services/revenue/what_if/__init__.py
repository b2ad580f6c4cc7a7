"""What a draft of law would have brought on consignments that were assessed: what they were told to owe against what they would owe.

    plan.py            what a run was asked for
    joined_batches.py  stored batches put together
    part.py            what a part owes, by the answers of then and by the draft
    counting.py        compare a part with what the draft says, and count
    progress.py        what was counted, as bytes to go on from
    bands.py           bands of value
    result.py          what was found, for those who asked

Behaviour is held constant: nobody sells, buys, splits or files otherwise because of the draft.
"""

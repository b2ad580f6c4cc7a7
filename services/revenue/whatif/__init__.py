"""What a draft of law would have brought on consignments that were assessed: what they were told to owe against what they would owe.

    part.py      stored batches put together, and where their charges stand
    counting.py  compare a part with what the draft says, and count
    state.py     what was counted, as bytes to go on from
    bands.py     bands of value
    result.py    what was found, for those who asked

Behaviour is held constant: nobody sells, buys, splits or files otherwise because of the draft.
"""

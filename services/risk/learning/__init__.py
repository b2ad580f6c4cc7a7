"""The model and its learning loop: columns → features → LightGBM → score, and what to inspect so that it keeps learning.

Pure modules, one subject each: `sample` (columns in), `features` (what is made of them), `encoders` (what is learnt of
the training window alone), `training`, `model_file`, `scoring`, `contributions`, `drift`, `comparison`, `exploration`,
`labelled` (labelled files) and `traffic` (consignments as samples).
"""

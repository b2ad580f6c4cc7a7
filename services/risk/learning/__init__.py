"""The model and its learning loop: columns → features → LightGBM → score, and what to inspect so that it keeps learning.

features/    samples of consignments, and the features that are made of their columns
training/    training, and the outcomes that it learns from
model/       model files, scores, and the contributions of features to a score
evaluation/  measures of a model, the comparison of two, and drift
__main__.py  trains a model on a labelled file
"""

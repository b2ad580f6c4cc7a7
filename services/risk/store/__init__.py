"""All SQL of risk's own database, a module for each subject."""

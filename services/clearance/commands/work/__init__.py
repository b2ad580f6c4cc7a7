"""The work of officers: who works on which held goods."""

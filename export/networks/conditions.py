"""The words that networks, data and evaluation of the scalp's conditions share."""

CONDITIONS = ("dandruff", "sebum", "erythema")
GRADES = 4

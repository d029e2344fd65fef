"""The report of a study folder: its tables read, worded, drawn and laid out; no image but finished pictures is opened."""

"""The answer shown: tables, figures, one HTML page. Reads what runs left behind and opens no image volume."""

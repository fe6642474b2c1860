"""What every room uses: errors, files, records, documents, locks."""

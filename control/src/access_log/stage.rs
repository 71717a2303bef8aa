//! A shipped segment is verified, put into staging and entered in the ledger.

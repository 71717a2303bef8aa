//! What lies in staging and in no ledger.

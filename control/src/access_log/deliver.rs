//! From a committed list of segments to the file in the customer's bucket.

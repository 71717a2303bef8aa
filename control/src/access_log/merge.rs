//! Which groups are due, and the commit of their lists.

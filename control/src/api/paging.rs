//! Pages of lists: Marker, MaxItems, NextMarker.

//! What the service is started with: placeholder until the binary lands.

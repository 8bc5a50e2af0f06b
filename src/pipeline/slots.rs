//! Slots go round between two threads: filled one way, free the other.

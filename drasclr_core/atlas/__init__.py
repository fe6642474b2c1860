"""The common space: atlas, landmarks, registration, patches, bank."""

-- SPDX-License-Identifier: Apache-2.0
-- What a VM sees of its vGPU: our own device alone (custom), or beside it one with an NVIDIA GPU's identity (nvidia).
ALTER TABLE vm ADD COLUMN personality TEXT NOT NULL DEFAULT 'custom';

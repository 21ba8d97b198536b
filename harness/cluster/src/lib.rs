//! Control planes: where the binaries come from, PKI, configuration, child processes.


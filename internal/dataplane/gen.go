package dataplane

// The generated Go and the objects are committed; `make generate` renews them
// with Debian's clang-19, libbpf-dev and linux-libc-dev on amd64.
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package dataplane -type heartbeat -type bucket_state -type udp_flow -type frozen_flow ingressXDP ../../bpf/ingress_xdp.c -- -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package dataplane -no-global-types ingressTCX ../../bpf/ingress_tcx.c -- -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package dataplane -no-global-types packetType ../../bpf/packet_type.c -- -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package dataplane -no-global-types egress ../../bpf/egress.c -- -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -I/usr/include/x86_64-linux-gnu

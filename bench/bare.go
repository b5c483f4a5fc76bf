package main

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

const (
	xdpDrop = 1
	xdpPass = 2
	tcxDrop = 2
	xdpTX   = 3
)

// returning loads a program that does nothing but return a value.
func returning(t ebpf.ProgramType, value int32) (*ebpf.Program, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         t,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, value), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	if err != nil {
		return nil, fmt.Errorf("load a bare program: %w", err)
	}
	return prog, nil
}

// attachXDP attaches a program to an interface of the calling thread's
// namespace.
//
// Test runs too are of attached programs only: those have their place in the
// kernel's table of direct calls (kernel/bpf/dispatcher.c). Any other gets one
// for each run, which waits some timer ticks, and that would count as the run's.
func attachXDP(prog *ebpf.Program, ifc string, mode link.XDPAttachFlags) (link.Link, error) {
	index, _, err := linkInfo(ifc)
	if err != nil {
		return nil, err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: mode})
	if err != nil {
		return nil, fmt.Errorf("attach a program to %s: %w", ifc, err)
	}
	return l, nil
}

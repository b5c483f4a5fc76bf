package main

import (
	"fmt"
	"os"
)

func main() {
	if os.Getenv(childMark) == "" {
		if err := runIsolated(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	bpffs, err := mountBPF()
	if err != nil {
		panic(err)
	}
	res, err := measureCost(bpffs, 21, 500000)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, r := range res {
		fmt.Printf("%-45s %6.1f  %6.1f (%s) min %.1f | %6.1f  target %v\n", r.name, r.total.median(), r.aboveFloor.median(), r.aboveFloor.spread(), r.aboveFloor.quantile(0), r.aboveBeside.median(), r.target)
	}
	drops, err := measureDrops(bpffs, 21, 200000)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, r := range drops {
		fmt.Printf("%-45s %6.1f (%s)  %6.1f (%s)\n", r.name, r.total.median(), r.total.spread(), r.delivered.median(), r.delivered.spread())
	}
}

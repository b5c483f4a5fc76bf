package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"unicode/utf8"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var (
	shoalColor = color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}
	lightColor = color.RGBA{R: 0x9e, G: 0xca, B: 0xe1, A: 0xff}
	peerColor  = color.RGBA{R: 0xa0, G: 0xa0, B: 0xa0, A: 0xff}
)

const (
	barsWidth = 360 // of the longest bar, points
	charWidth = 6.5 // of a name's letters, with room for viewers that have a wider font
	rowHeight = 20
)

// bar is one bar of a plot, drawn from left to right.
type bar struct {
	name  string
	value float64
	label string
	color color.Color
}

// barPlot draws bars, the first on top, with their names in a column before them.
func barPlot(path, title string, bars []bar) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	p := plot.New()
	longest, letters := 0.0, 0
	for _, b := range bars {
		longest = max(longest, b.value)
		letters = max(letters, utf8.RuneCountInString(b.name))
	}
	column := charWidth * float64(letters) // points
	p.Title.Text = title
	p.Title.Padding = vg.Points(8)
	p.X.Min, p.X.Max = -longest*column/barsWidth, longest*1.12
	p.X.LineStyle.Width = 0
	p.X.Tick.Marker = plot.TickerFunc(barTicks)
	p.HideY()

	var names, labels plotter.XYLabels
	for i, b := range bars {
		at := float64(len(bars) - 1 - i)
		chart, err := plotter.NewBarChart(plotter.Values{b.value}, vg.Points(13))
		if err != nil {
			return fmt.Errorf("plot %s: %w", path, err)
		}
		chart.Horizontal, chart.XMin, chart.Color, chart.LineStyle.Width = true, at, b.color, 0
		p.Add(chart)
		names.XYs = append(names.XYs, plotter.XY{X: p.X.Min, Y: at})
		names.Labels = append(names.Labels, b.name)
		labels.XYs = append(labels.XYs, plotter.XY{X: b.value, Y: at})
		labels.Labels = append(labels.Labels, " "+b.label)
	}
	for _, text := range []plotter.XYLabels{names, labels} {
		drawn, err := plotter.NewLabels(text)
		if err != nil {
			return fmt.Errorf("plot %s: %w", path, err)
		}
		drawn.Offset.Y = -vg.Points(4)
		p.Add(drawn)
	}
	return save(p, path, vg.Points(column+barsWidth*1.15), vg.Points(float64(50+rowHeight*len(bars))))
}

// barTicks leaves out the ticks below the names, and those whose numbers would
// run over the edge.
func barTicks(_, high float64) []plot.Tick { return plot.DefaultTicks{}.Ticks(0, high*0.95) }

// save writes a plot, with fonts to fall back on for who lacks that of the plot.
func save(p *plot.Plot, path string, width, height vg.Length) error {
	drawn, err := p.WriterTo(width, height, "svg")
	if err != nil {
		return fmt.Errorf("plot %s: %w", path, err)
	}
	var svg bytes.Buffer
	if _, err := drawn.WriteTo(&svg); err != nil {
		return fmt.Errorf("plot %s: %w", path, err)
	}
	text := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	return nil
}

// plots writes a plot for each table but the last.
func (r *report) plots(dir string) error {
	var costs, drops, transfers []bar
	for i, c := range r.costs {
		if i != c.floor {
			costs = append(costs, newBar(c.name, c.total.minus(r.costs[c.floor].total).median(), "%.0f", shoalColor))
		}
	}
	for _, d := range r.drops {
		c := peerColor
		if d.shoal {
			c = shoalColor
		}
		drops = append(drops, newBar(d.name, d.delivered.median(), "%.0f", c))
	}
	for _, t := range r.transfers {
		transfers = append(transfers,
			newBar(t.name+", upload", t.upload.median(), "%.1f", shoalColor),
			newBar(t.name+", download", t.download.median(), "%.1f", lightColor))
	}
	for _, p := range []struct {
		file, title string
		bars        []bar
	}{
		{"cost.svg", "Paths through the programs: ns more than a bare drop", costs},
		{"drop.svg", "Another node's packet, from the wire to its drop: ns of CPU time", drops},
		{"transfer.svg", "One TCP transfer: Gbit/s", transfers},
		{"failover.svg", "A node fails: ms without service of the client that waits longest", r.failoverBars()},
	} {
		if len(p.bars) == 0 {
			continue // not measured
		}
		if err := barPlot(filepath.Join(dir, p.file), p.title, p.bars); err != nil {
			return err
		}
	}
	return nil
}

// newBar makes a bar; what noise took below zero has none.
func newBar(name string, value float64, format string, c color.Color) bar {
	value = max(value, 0)
	return bar{name, value, fmt.Sprintf(format, value), c}
}

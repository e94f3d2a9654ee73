// Package spelling finds the word that somebody probably meant, for errors about unknown keys and names.
package spelling

// Nearest returns the word of known with the fewest edits from word, or "" when none is near enough to be meant:
// more than a third of the letters would have to change.
func Nearest(word string, known []string) string {
	best, found := len(word)/3+1, ""
	for _, k := range known {
		if d := distance(word, k, best); d < best || d == best && found == "" {
			best, found = d, k
		}
	}
	return found
}

// DidYouMean returns `; did you mean "…"?` for the nearest word, or "" when there is none.
func DidYouMean(word string, known []string) string {
	if n := Nearest(word, known); n != "" {
		return `; did you mean "` + n + `"?`
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with their neighbour (optimal string
// alignment), or limit+1 when it is larger than limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > 100 || len(b) > 100 {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

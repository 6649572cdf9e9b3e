package oci

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// nextPage reads Link headers (RFC 8288) for where the list that came from base
// goes on, or nil. No other server is asked for the rest: it was not named by the
// user, and might be one that only this machine can reach.
func nextPage(base *url.URL, headers []string) (*url.URL, error) {
	for _, h := range headers {
		for link := range strings.SplitSeq(h, ",") {
			target, params, ok := strings.Cut(link, ">")
			target, ok2 := strings.CutPrefix(strings.TrimSpace(target), "<")
			if !ok || !ok2 || !isNext(params) {
				continue
			}
			next, err := base.Parse(target)
			if err != nil {
				return nil, errors.New("the next page of the list has no valid address")
			}
			if next.Scheme != base.Scheme || next.Host != base.Host || next.User != nil {
				return nil, fmt.Errorf("the next page of the list is on another server, %s", plainText(next.Host))
			}
			return next, nil
		}
	}
	return nil, nil
}

// isNext reports whether the parameters of a link have rel="next".
func isNext(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(k), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(v), `"`), "next") {
			return true
		}
	}
	return false
}

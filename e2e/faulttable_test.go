package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"time"
)

// readFaults are met by what reads a registry.
var readFaults = []hostile{
	{name: "every connection cut at a MiB", waste: 1 << 20, fault: func() fault { return first(always, getLayer, cut(1<<20)) }},
	{name: "every connection cut at 150 kB", waste: 1 << 20, fault: func() fault { return first(always, getLayer, cut(150_000)) }},
	{name: "every connection cut at 20 kB", waste: 1 << 20, fault: func() fault { return first(always, getLayer, cut(20_000)) }},
	{name: "connections cut before the first byte", fault: func() fault { return first(3, getLayer, cut(0)) }},
	{
		name: "connections cut before the first byte for ever", code: exitRegistry, says: "given up", waits: true,
		fault: func() fault { return first(always, getLayer, cut(0)) },
	},
	{name: "reset within a header", fault: func() fault { return first(2, getLayer, reset("HTTP/1.1 200 OK\r\nContent-Le")) }},
	{name: "reset before a header", fault: func() fault { return first(2, getBlob, reset("")) }},
	{name: "reset of the first request", fault: func() fault { return first(1, ping, reset("")) }},
	{name: "answer that is not http", code: exitRegistry, says: "malformed HTTP", may: true, fault: func() fault { return first(always, getBlob, reset("220 mail.example ESMTP\r\n")) }},
	{name: "a byte a second", waits: true, fault: func() fault { return first(1, getLayer, trickle(half)) }},
	{name: "silence within a blob", waits: true, fault: func() fault { return first(1, getLayer, silence(half)) }},
	{name: "silence before a blob", waits: true, fault: func() fault { return first(1, getLayer, silence(0)) }},
	{name: "silence within a manifest", waits: true, fault: func() fault { return first(1, getManifest, silence(100)) }},
	{name: "manifest cut", fault: func() fault { return first(1, getManifest, cut(100)) }},
	{name: "no ranges", waste: 4*half + 1<<16, fault: func() fault { return inTurn(cut(half), without("Range")) }},
	{
		name: "no ranges and every connection cut", code: exitRegistry, says: "does not serve ranges",
		fault: func() fault {
			return first(always, getBlob, func(f *front, w http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("Range")
				return cut(half)(f, w, r)
			})
		},
	},
	{
		name: "range of another start", code: exitRegistry, says: "sends the range",
		fault: func() fault { return inTurn(cut(half), withHeaders("Content-Range: bytes 0-99/100")) },
	},
	{
		name: "range without Content-Range", code: exitRegistry, says: "sends the range",
		fault: func() fault {
			return inTurn(cut(half), altered(func(rec *httptest.ResponseRecorder) { rec.Header().Del("Content-Range") }))
		},
	},
	{name: "range in several parts", code: exitRegistry, says: "sends the range", fault: func() fault { return inTurn(cut(half), multipart) }},
	{name: "416 for a range", code: exitCorrupt, says: "shorter than the manifest says", fault: func() fault { return inTurn(cut(half), status(http.StatusRequestedRangeNotSatisfiable)) }},
	{name: "more bytes than Content-Length", code: exitRegistry, may: true, fault: func() fault { return first(always, getLayer, overlong) }},
	{name: "half of the bytes that were asked for", code: exitRegistry, says: "given up", waits: true, fault: func() fault { return first(always, getLayer, halved) }},
	{name: "wrong bytes of the right length", code: exitCorrupt, says: "corrupt", fault: func() fault { return first(always, getLayer, damaged) }},
	{name: "wrong bytes once", code: exitCorrupt, says: "corrupt", may: true, fault: func() fault { return first(1, getLayer, damaged) }},
	{name: "wrong bytes of a manifest", code: exitCorrupt, says: "corrupt", fault: func() fault { return between(1, always, getManifest, damaged) }},
	{
		name: "429 with Retry-After in seconds",
		fault: func() fault {
			return first(always, getManifest, busy(func(time.Time) string { return "2" }, 2*time.Second))
		},
	},
	{
		name: "429 with Retry-After as a date", // which is of whole seconds
		fault: func() fault {
			return first(always, getManifest, busy(func(now time.Time) string {
				return now.Add(3 * time.Second).UTC().Format(http.TimeFormat)
			}, 2*time.Second))
		},
	},
	{
		name: "429 with Retry-After of 30 years", waits: true,
		fault: func() fault { return first(1, getLayer, status(429, "Retry-After: 1000000000")) },
	},
	{name: "429 for ever", waits: true, code: exitRegistry, says: "429", fault: func() fault { return first(always, getManifest, status(429)) }},
	{name: "500 twice", fault: func() fault { return first(2, getLayer, status(500)) }},
	{name: "502 and a page", fault: func() fault { return first(2, getManifest, status(502)) }},
	{name: "503 for ever", waits: true, code: exitRegistry, says: "503", fault: func() fault { return first(always, getLayer, status(503)) }},
	{name: "503 for ever at the first request", waits: true, code: exitRegistry, says: "503", fault: func() fault { return first(always, ping, status(503)) }},
	{name: "403 for a blob", code: exitRegistry, says: "oras-bsm login", fault: func() fault { return first(always, getBlob, refusal(403, "DENIED")) }},
	{name: "404 for a blob", code: exitRegistry, says: "404", fault: func() fault { return first(always, getBlob, refusal(404, "BLOB_UNKNOWN")) }},
	{name: "404 for the tag", code: exitRegistry, says: "check repository and tag", fault: func() fault { return first(always, getManifest, refusal(404, "MANIFEST_UNKNOWN")) }},
	{name: "web page for the tag", code: exitRegistry, says: "not a registry", fault: func() fault { return first(always, getManifest, page) }},
	{name: "web page for everything", code: exitRegistry, says: "not a registry", fault: func() fault { return page }},
	{name: "web page for a blob", code: exitCorrupt, says: "corrupt", fault: func() fault { return first(always, getBlob, page) }},
	{
		name: "content encoding that was not asked for", code: exitRegistry, says: "content encoding",
		fault: func() fault { return first(always, getLayer, withHeaders("Content-Encoding: gzip")) },
	},
	{
		name:  "wrong Docker-Content-Digest",
		fault: func() fault { return first(always, getManifest, withHeaders("Docker-Content-Digest: sha256:00")) },
	},
}

// writeFaults are met by what writes to a registry.
var writeFaults = []hostile{
	{name: "reset when an upload begins", fault: func() fault { return first(2, beginBlob, reset("")) }},
	{name: "reset when an upload has ended", fault: func() fault { return first(1, endBlob, deaf(reset(""))) }},
	{name: "500 when an upload begins", fault: func() fault { return first(2, beginBlob, status(500)) }},
	{name: "503 for ever when an upload begins", waits: true, code: exitRegistry, says: "503", fault: func() fault { return first(always, beginBlob, status(503)) }},
	{name: "session lost", fault: func() fault {
		return anyOf(first(1, sendBlob, refusal(404, "BLOB_UPLOAD_UNKNOWN")), first(1, endBlob, refusal(404, "BLOB_UPLOAD_UNKNOWN")))
	}},
	{name: "504 when all bytes have come", fault: func() fault {
		return anyOf(first(1, sendBlob, deaf(status(504))), first(1, endBlob, deaf(status(504))))
	}},
	{name: "413 for a layer", code: exitRegistry, says: "no layer of this size", fault: func() fault {
		return anyOf(first(always, sendBlob, status(413)), first(always, endBlob, status(413)))
	}},
	{name: "digest refused once", fault: func() fault { return first(1, endBlob, refusal(400, "DIGEST_INVALID")) }},
	{name: "digest refused for ever", code: exitRegistry, says: "DIGEST_INVALID", fault: func() fault { return first(always, endBlob, refusal(400, "DIGEST_INVALID")) }},
	{name: "stale Range of an upload", fault: func() fault { return first(always, sendBlob, withHeaders("Range: 0-0")) }},
	{name: "no Location for an upload", code: exitRegistry, may: true, fault: func() fault {
		return first(always, beginBlob, altered(func(rec *httptest.ResponseRecorder) { rec.Header().Del("Location") }))
	}},
	{name: "403 when an upload begins", code: exitRegistry, says: "oras-bsm login", fault: func() fault { return first(always, beginBlob, refusal(403, "DENIED")) }},
	{name: "429 when a manifest is put", fault: func() fault { return first(1, putManifest, status(429, "Retry-After: 1")) }},
	{name: "500 twice when a manifest is put", fault: func() fault { return first(2, putManifest, status(500)) }},
	{name: "manifest refused", code: exitRegistry, says: "MANIFEST_INVALID", fault: func() fault { return first(always, putManifest, refusal(400, "MANIFEST_INVALID")) }},
	{name: "manifest taken, answer lost", fault: func() fault { return first(always, putManifest, onceEach(deaf(reset("")))) }},
	{name: "web page for every write", code: exitRegistry, fault: func() fault { return anyOf(first(always, beginBlob, page), first(always, putManifest, page)) }},
	{name: "all of it answered with 200 and nothing", code: exitCorrupt, fault: func() fault { return status(200) }},
}

// onceEach applies a fault to the first request for each path.
func onceEach(do fault) fault {
	seen := map[string]bool{} // manifests are put one after the other
	return func(f *front, w http.ResponseWriter, r *http.Request) bool {
		if seen[r.URL.Path] {
			return false
		}
		seen[r.URL.Path] = true
		return do(f, w, r)
	}
}

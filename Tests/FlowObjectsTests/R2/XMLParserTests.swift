import Testing

@testable import FlowObjects

@Suite struct XMLParserTests {
    private static func parse(_ text: String) -> S3XMLElement? { XMLParser.parse(Array(text.utf8)) }

    @Test func parsesS3Responses() throws {
        let root = try #require(
            Self.parse(
                """

                <?xml version="1.0" encoding="UTF-8"?>
                <!-- from the edge -->
                <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix/>
                  <Contents><Key>a&amp;b &lt;&#x4e2d;&#233;&gt; &quot;&apos;</Key><ETag>"x"</ETag></Contents>
                  <x:Contents a='1' b = "2" ><Key><![CDATA[<&>]]></Key></x:Contents >
                </ListBucketResult>
                <!-- and the end -->
                """))
        #expect(root.name == "ListBucketResult")
        #expect(root.text("Name") == "b")
        #expect(root.text("Prefix") == "")
        #expect(root.all("Contents").map { $0.text("Key") } == ["a&b <中é> \"'", "<&>"])
        #expect(root["Contents"]?.text("ETag") == "\"x\"")
        #expect(root["Nothing"] == nil)
        #expect(Self.parse("\u{feff}<a> x </a>")?.text == " x ")
        #expect(Self.parse("<a/>") == S3XMLElement(name: "a"))
    }

    @Test(arguments: [
        "", "text", "<a>", "</a>", "<a></b>", "<a><b></a></b>", "<a/><b/>", "<a>&nbsp;</a>", "<a>&lt</a>", "<a>&#0;</a>",
        "<a>&#xD800;</a>", "<a>&#x110000;</a>", "<a b></a>", "<a b=c></a>", "<a b=\"c></a>", "<a b=\"1\"c=\"2\"/>", "<a>x</a>x",
        "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>", "<!DOCTYPE a><a/>", "<a><!ENTITY></a>", "<![CDATA[x]]>",
        "<a><![CDATA[x</a>",
        "<a><!-- x</a>", "<?xml <a/>", "< a/>", "<a:/>", "<a/ >", "<a>\u{0}&;</a>", "<html><br></html>",
    ])
    func rejectsMalformedAndUnsupportedXML(_ text: String) { #expect(Self.parse(text) == nil) }

    @Test func limitsNestingDepth() {
        func nested(_ depth: Int) -> String {
            String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)
        }
        #expect(Self.parse(nested(16)) != nil)
        #expect(Self.parse(nested(17)) == nil)
        #expect(Self.parse(nested(100_000)) == nil)
    }

    @Test func rejectsInvalidUTF8() { #expect(XMLParser.parse(Array("<a>".utf8) + [0xff] + Array("</a>".utf8)) == nil) }

    /// Truncated or changed input yields an element or `nil`, and no crash.
    @Test func survivesTruncatedAndMutatedInput() {
        let whole = Array("<?xml version=\"1.0\"?><a x=\"1\"><b>t&amp;<![CDATA[u]]></b><!--c--><d/></a>".utf8)
        for length in 0..<whole.count { _ = XMLParser.parse(Array(whole[..<length])) }
        for index in whole.indices {
            for byte in Array("<>&;/\"'!-[]= \u{0}".utf8) {
                var changed = whole
                changed[index] = byte
                _ = XMLParser.parse(changed)
            }
        }
        #expect(XMLParser.parse(whole)?["b"]?.text == "t&u")
    }

    @Test func writtenXMLRoundTrips() {
        let odd = "a<b>&\"'\u{1F600} ]]> &amp;"
        let text = XMLText.element("a", containing: [XMLText.element("b", odd)])
        #expect(Self.parse(text)?.text("b") == odd)
    }
}

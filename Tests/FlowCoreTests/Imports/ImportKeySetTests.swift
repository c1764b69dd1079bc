import Testing

@testable import FlowCore

@Suite struct ImportKeySetTests {
    private static let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    private static let other = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="

    @Test func firstKeyEncryptsUnlessAnotherIsMarked() throws {
        let set = try ImportKeySet(Array("# keys\n\n2026-02 \(Self.key)\r\n\t2026-01\t\(Self.other)  \n".utf8))
        #expect(set.keys.map(\.name) == ["2026-02", "2026-01"] && set.encrypting?.name == "2026-02")
        #expect(set.keys[0].secret == Array(0..<32))
        let marked = try ImportKeySet(Array("a \(Self.key)\nb \(Self.other) encrypts".utf8))
        #expect(marked.encrypting?.name == "b")
        let second = try ImportKeySet(Array("a \(Self.key) decrypts\nb \(Self.other)".utf8))
        #expect(second.encrypting?.name == "b")
        let none = try ImportKeySet(Array("a \(Self.key) decrypts\n".utf8))
        #expect(none.encrypting == nil && none.keys.count == 1)
    }

    @Test(arguments: [
        ("", "no key"), ("# a\n", "no key"), ("a", "line 1: it must have a name, a key"),
        ("\na \(ImportKeySetTests.key) encrypts b", "line 2: it must have"),
        ("\(ImportKeySetTests.key) a", "line 1: the name must be"), ("a/b \(ImportKeySetTests.key)", "the name must be"),
        (String(repeating: "a", count: 65) + " \(ImportKeySetTests.key)", "the name must be"),
        ("a AAECAwQFBgcICQoLDA0ODw==", "32 bytes in Base64"), ("a " + String(repeating: "k", count: 32), "32 bytes in Base64"),
        ("a \(ImportKeySetTests.key)\na \(ImportKeySetTests.other)", "line 2: another line has the name a already"),
        ("a \(ImportKeySetTests.key) encrypts\nb \(ImportKeySetTests.other) encrypts", "line 2: another key is marked"),
        ("a \(ImportKeySetTests.key) first", "only the word encrypts or decrypts"),
    ])
    func invalidFileIsRejectedWithoutShowingKeys(_ text: String, _ problem: String) {
        let error = #expect(throws: ImportKeySet.Invalid.self) { try ImportKeySet(Array(text.utf8)) }
        #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
        for word in text.split(whereSeparator: { $0 == " " || $0 == "\n" }) where word.utf8.count > 20 {
            #expect(error?.description.contains(word) == false)
        }
    }

    @Test func keysAreNotShownWhenPrinted() throws {
        let set = try ImportKeySet(Array("a \(Self.key)".utf8))
        var dumped = ""
        dump(set, to: &dumped)
        for text in ["\(set)", String(reflecting: set), "\(set.keys)", dumped] {
            #expect(text.contains("a") && !text.contains("secret") && !text.contains("31"), "\(text)")
        }
    }

    @Test func base64IsThatOfRFC4648() {
        for (text, encoded) in [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            #expect(Base64.encode(Array(text.utf8)) == Array(encoded.utf8))
            #expect(Base64.decode(Array(encoded.utf8)[...]) == Array(text.utf8))
        }
        let all = (0...255).map { UInt8($0) }
        #expect(Base64.decode(Base64.encode(all)[...]) == all)
        for text in ["Zg", "Zg=", "Zh==", "Zm9=", "Zm 8", "Z===", "====", "Zm9v\n", "Zg==Zg==", "Zm9_"] {
            #expect(Base64.decode(Array(text.utf8)[...]) == nil, "\(text)")
        }
    }
}

// What cannot be arranged on one machine: Windows, whose files are played.
import { expect, test } from "bun:test";
import { absoluteEntries, batchArguments, findOnWindows } from "../../../lib/runtime/process.ts";

test("absoluteEntries() leaves out what depends on the current folder", () => {
  expect(absoluteEntries("/usr/bin::.:bin:../bin:~/bin:/bin:", false)).toEqual(["/usr/bin", "/bin"]);
  expect(absoluteEntries("C:\\Windows;;.;bin;C:bin;\\bin;\\\\server\\share;d:/b", true)).toEqual([
    ...["C:\\Windows", "\\\\server\\share", "d:/b"],
  ]);
});

// Windows looks for a program in the current folder before PATH.
test.each([
  ["firefox", "C:\\b\\firefox.exe"],
  ["firefox.exe", "C:\\b\\firefox.exe"],
  ["Tool.COM", "C:\\a\\Tool.COM"],
  ["open.cmd", "C:\\c\\open.cmd"],
  ["C:\\Program Files\\b.exe", "C:\\Program Files\\b.exe"],
  ["only", undefined],
])("findOnWindows(%j) is %j", (program, path) => {
  const files = ["C:\\b\\firefox.exe", "C:\\a\\Tool.COM", "C:\\c\\open.cmd", ".\\only.exe", "\\only.exe", "only.exe"];
  expect(findOnWindows(program, ".;;C:\\a;C:\\b\\;C:\\c", (path) => files.includes(path))).toBe(path);
});

// BROWSER=x.cmd and serve -- x.cmd failed with EINVAL. The address comes from a server.
test("batchArguments() quotes what cmd.exe would read", () => {
  expect(batchArguments("C:\\my tools\\x.cmd", ["https://a/?b=%PATH%&calc", 'say "hi"', "C:\\", ""]).at(-1)).toBe(
    '""C:\\my tools\\x.cmd" "https://a/?b=%%cd:~,%PATH%%cd:~,%&calc" "say ""hi""" "C:\\\\" """',
  );
  expect(batchArguments("x.cmd", ["release", "--x=1", "C:\\"]).at(-1)).toBe('""x.cmd" release "--x=1" "C:\\\\""');
  expect(() => batchArguments("x.cmd", ["a\ncalc"])).toThrow("line break");
});

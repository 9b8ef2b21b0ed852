// What cannot be arranged on one machine: Windows, whose files are played.
import { expect, test } from "bun:test";
import { absoluteEntries, batchArguments, programOnNode, StartError } from "../../../lib/runtime/process.ts";

test("absoluteEntries() leaves out what depends on the current folder", () => {
  expect(absoluteEntries("/usr/bin::.:bin:../bin:~/bin:/bin:", "linux")).toEqual(["/usr/bin", "/bin"]);
  expect(absoluteEntries("C:\\Windows;;.;bin;C:bin;\\bin;\\\\server\\share;d:/b", "win32")).toEqual([
    ...["C:\\Windows", "\\\\server\\share", "d:/b"],
  ]);
  expect(absoluteEntries('"C:\\a;b";".\\c";"x";C:\\d', "win32")).toEqual(['"C:\\a;b"', "C:\\d"]);
});

// Windows looks for a program in the current folder before PATH, and so does cmd.exe for a batch file: "serve -- terraform" ran
// the terraform.exe of another person's clone, with the secret of the endpoint.
test.each([
  ["firefox", "C:\\b\\firefox.exe"],
  ["firefox.exe", "C:\\b\\firefox.exe"],
  ["Tool.COM", "C:\\a\\Tool.COM"],
  ["open.cmd", "C:\\c\\open.cmd"],
  ["quoted", "C:\\q;r\\quoted.exe"],
  ["C:\\Program Files\\b.exe", "C:\\Program Files\\b.exe"],
  [".\\only.exe", ".\\only.exe"],
  [".\\here.cmd", ".\\here.cmd"],
  ["only", undefined],
  ["only.exe", undefined],
  ["here.cmd", undefined],
  ["here.cmd .", undefined],
  [".\\missing.cmd", undefined],
])("programOnNode(%j) on Windows is %j", (name, program) => {
  const files = ["C:\\b\\firefox.exe", "C:\\a\\Tool.COM", "C:\\c\\open.cmd", "C:\\q;r\\quoted.exe"];
  const current = ["only.exe", "here.cmd", "here.cmd ."].flatMap((file) => [file, `.\\${file}`, `\\${file}`]);
  const isThere = (path: string) => [...files, ...current].includes(path);
  const find = () => programOnNode(name, { system: "win32", path: '.;;C:\\a;C:\\b\\;"C:\\q;r";C:\\c', isThere });
  if (program === undefined) expect(find).toThrow(StartError);
  else expect(find()).toBe(program);
});

test("programOnNode() leaves the search to other systems", () => {
  expect(programOnNode("terraform", { system: "linux", path: "/bin", isThere: () => false })).toBe("terraform");
});

// BROWSER=x.cmd and serve -- x.cmd failed with EINVAL. The address comes from a server.
test("batchArguments() quotes what cmd.exe would read", () => {
  expect(batchArguments("C:\\my tools\\x.cmd", ["https://a/?b=%PATH%&calc", 'say "hi"', "C:\\", ""]).at(-1)).toBe(
    '""C:\\my tools\\x.cmd" "https://a/?b=%%cd:~,%PATH%%cd:~,%&calc" "say ""hi""" "C:\\\\" """',
  );
  expect(batchArguments("x.cmd", ["release", "--x=1", "C:\\"]).at(-1)).toBe('""x.cmd" release "--x=1" "C:\\\\""');
  expect(() => batchArguments("x.cmd", ["a\ncalc"])).toThrow("line break");
});

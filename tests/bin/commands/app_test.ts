import { describe, expect, test } from "bun:test";
import { CLIENT_ID } from "../../fixture.ts";
import { runLatchkey, type RunOptions } from "../run_latchkey.ts";

const URIS = [
  `ms-appx-web://Microsoft.AAD.BrokerPlugin/${CLIENT_ID}`,
  "msauth.com.msauth.unsignedapp://auth",
  "https://login.microsoftonline.com/common/oauth2/nativeclient",
  "http://localhost",
] as const;
const app = (line: string, options?: RunOptions) => runLatchkey(["app", ...line.split(" ").filter(Boolean)], options);

describe("latchkey app", () => {
  test("prints each redirect URI with what it is for, and needs no permission", async () => {
    const { code, stdout, stderr } = await app(`--client-id ${CLIENT_ID}`, { permissions: [] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const rows = stdout.split("\n").filter((line) =>
      line.startsWith("  ") && URIS.some((uri) => line.includes(`  ${uri} `))
    );
    expect(rows.map((row) => row.trim().split(/ {2,}/))).toEqual([
      [URIS[0], "Windows, WSL"],
      [URIS[1], "macOS"],
      [URIS[2], "Linux"],
      [URIS[3], "the browser, if there is no broker"],
    ]);
  });

  test("says how to add them: all at once with Azure CLI, which replaces the list, and in the portal", async () => {
    const { stdout } = await app(`--client-id ${CLIENT_ID}`);
    const [command] = /^ {2}az ad app update .*$/m.exec(stdout)!;
    const words = command.trim().split(" ");
    expect(words.slice(0, 6)).toEqual(["az", "ad", "app", "update", "--id", CLIENT_ID]);
    expect(words.slice(words.indexOf("--is-fallback-public-client"))).toEqual([
      ...["--is-fallback-public-client", "true", "--public-client-redirect-uris", ...URIS],
    ]);
    expect(stdout).toMatch(/The command replaces the whole list/);
    expect(stdout).toContain("Mobile and desktop applications");
    expect(stdout).toContain("Allow public client flows");
  });

  test("prints the same as JSON", async () => {
    const { stdout } = await app(`--client-id ${CLIENT_ID} --format json`);
    expect(JSON.parse(stdout)).toEqual({
      ...{ client_id: CLIENT_ID, public_client: true, owner: "you" },
      redirect_uris: [
        { uri: URIS[0], ways: ["windows", "wsl"] },
        { uri: URIS[1], ways: ["macos"] },
        { uri: URIS[2], ways: ["linux"] },
        { uri: URIS[3], ways: ["browser"] },
      ],
      az: expect.stringMatching(/^az ad app update --id /),
    });
  });

  test.each(["azure-cli", "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "04B07795-8DDB-461A-BBEE-02F9E1BF7B46"])(
    "says of %s that it is Microsoft's, and cannot be changed",
    async (client) => {
      const { code, stdout } = await app(`--client-id ${client}`);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^azure-cli is one of Microsoft's own apps: only Microsoft can change its registration\./);
      expect(stdout).not.toContain("az ad app update");
      const json = JSON.parse((await app(`--client-id ${client} --format json`)).stdout);
      expect(json).toMatchObject({ owner: "microsoft", redirect_uris: expect.any(Array) });
      expect(json.az).toBeUndefined();
    },
  );

  test("prints the one redirect URI of an authority that is not Microsoft's, and no command of Azure CLI", async () => {
    const at = "--client-id my-app --authority https://id.contoso.com/realms/main";
    const { code, stdout } = await app(at);
    expect({ code, uris: stdout.match(/^ {2}http\S+$/gm) }).toEqual({
      code: 0,
      uris: ["  http://127.0.0.1/id.contoso.com/realms/main"],
    });
    expect(stdout).toContain("at https://id.contoso.com/realms/main:");
    expect(stdout).not.toContain("az ad app");
    expect(JSON.parse((await app(`${at} --redirect-path /signed-in --format json`)).stdout)).toEqual({
      ...{ client_id: "my-app", public_client: true, owner: "you" },
      redirect_uris: [{ uri: "http://127.0.0.1/signed-in", ways: ["browser"] }],
    });
  });

  test("refuses a redirect path that is none", async () => {
    const { code, stderr } = await app(
      "--client-id my-app --authority https://id.contoso.com --redirect-path signed-in",
    );
    expect(code).toBe(2);
    expect(stderr).toContain('Cannot use the redirect path "signed-in"');
  });

  test("needs to know the app", async () => {
    const { code, stderr } = await app("");
    expect(code).toBe(2);
    expect(stderr).toContain("--client-id is missing");
  });
});

// A person whose browser signs in at the fake of Microsoft Entra ID, and comes back to the program.
import { type BrowsingPerson, browsingPerson } from "../tools/browsing_person.ts";
import type { Landing } from "../tools/scripted_browser.ts";
import type { FakeEntra } from "./fake_entra.ts";

/** Somebody who signs in, or whom the server refuses with these parameters. */
export function entraPerson(entra: FakeEntra, refusal?: Readonly<Record<string, string>>): BrowsingPerson {
  const signIn = (address: string): Landing => {
    const { searchParams } = new URL(address), state = searchParams.get("state")!;
    return {
      url: `${searchParams.get("redirect_uri")}/`,
      method: searchParams.get("response_mode") === "form_post" ? "POST" : "GET",
      parameters: refusal ? new URLSearchParams({ ...refusal, state }) : entra.authorize(address),
    };
  };
  return browsingPerson({ signIn });
}

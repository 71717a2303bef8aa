// Drives the console as people do, in headless Chromium, and says on standard output what it saw: a line `NAME JSON` each. Where the
// test has something to do in between (play a film), the line ends the turn, and a line on standard input begins the next.
//
//   drive.mjs STORY BASE_URL FOLDER    with ACCESS_KEY_ID and SECRET_ACCESS_KEY in the environment; pictures go to FOLDER
//
// Every page seen is checked with axe-core; a message on the browser's console (a blocked script or style is one) fails the story.
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import readline from "node:readline";
import { chromium } from "playwright-core";

const [story, base, folder] = process.argv.slice(2);
const { ACCESS_KEY_ID: id, SECRET_ACCESS_KEY: secret, BUCKET: bucket, EDGE: edge } = process.env;
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
mkdirSync(folder, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const say = (name, value = {}) => console.log(name, JSON.stringify(value));
const turn = async (name, value) => { say(name, value); return (await lines.next()).value; };
const fail = (text) => { throw new Error(text); };

let pictures = 0;
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, bypassCSP: false, ...options });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on("console", (message) => { if (!message.text().includes("status of 4")) say("complaint", message.text()); });
  page.on("pageerror", (error) => say("complaint", error.message));
  page.on("dialog", (dialog) => { say("complaint", `a dialog: ${dialog.message()}`); dialog.dismiss(); });
  return page;
}

// Looks at a page: keeps a picture, and lets axe judge it in an isolated world, which the page's own policy doesn't reach.
async function look(page, name) {
  pictures += 1;
  await page.screenshot({ path: `${folder}/${story}-${String(pictures).padStart(2, "0")}-${name}.png`, fullPage: true });
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  const { readFileSync } = await import("node:fs");
  await session.send("Runtime.evaluate", { expression: readFileSync(axe, "utf8"), contextId: executionContextId });
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
    expression: `axe.run(document, { resultTypes: ["violations"] }).then((found) => JSON.stringify({ rules: found.passes.length,
      violations: found.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.map((n) => n.target.join(" ")).join(", ")) }))`,
    contextId: executionContextId, awaitPromise: true, returnByValue: true,
  });
  if (exceptionDetails) fail(`axe on ${name}: ${JSON.stringify(exceptionDetails)}`);
  const { rules, violations } = JSON.parse(result.value);
  await session.detach();
  say("looked", { name, rules, violations });
}

async function login(page) {
  await page.goto(`${base}`);
  await page.getByLabel("Access key id").fill(id);
  await page.getByLabel("Secret access key").fill(secret);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { level: 1, name: "Distributions" }).waitFor();
}

// Presses Tab until what has the focus is called `name`, as somebody does who has no mouse.
async function tabTo(page, name) {
  for (let presses = 0; presses < 80; presses += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const on = document.activeElement;
      const label = on.labels?.[0]?.textContent ?? on.getAttribute("aria-label") ?? on.textContent;
      const shown = getComputedStyle(on);
      return { name: label.trim(), ring: shown.outlineStyle !== "none" && parseFloat(shown.outlineWidth) >= 2 };
    });
    if (at.name === name) {
      if (!at.ring) fail(`the focus on "${name}" can't be seen`);
      return;
    }
  }
  fail(`"${name}" can't be reached with the Tab key`);
}

const statusOf = (page) => page.locator(".actions .state").first();
async function deployed(page) {
  await page.locator(".actions .state", { hasText: "Deployed" }).waitFor();
}

const stories = {
  // Login, create, Deployed, play URL, disable, delete; logging in and creating without a mouse.
  async life() {
    const page = await open();
    await page.goto(base);
    await look(page, "login");
    await tabTo(page, "Access key id");
    await page.keyboard.type(id);
    await page.keyboard.press("Tab");
    await page.keyboard.type(secret);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Distributions" }).waitFor();
    await look(page, "list");

    await page.keyboard.press("Tab");
    const first = await page.evaluate(() => document.activeElement.textContent);
    if (first !== "Skip to the content") fail(`the first stop is "${first}"`);
    await page.keyboard.press("Enter");
    await tabTo(page, "Create distribution");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Create distribution" }).waitFor();
    await look(page, "kinds");
    await tabTo(page, "Create a streaming distribution");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Create a streaming distribution" }).waitFor();
    await look(page, "create");

    // First without an origin: the page says so, keeps what was typed, and has the focus on it.
    await tabTo(page, "Comment");
    await page.keyboard.type('<script>alert("x")</script> films');
    await tabTo(page, "Create distribution");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    await look(page, "create-refused");
    const focused = await page.evaluate(() => document.activeElement.getAttribute("role"));
    if (focused !== "alert") fail("the focus is not on what is wrong");
    if ((await page.getByLabel("Comment").inputValue()) !== '<script>alert("x")</script> films') fail("what was typed is gone");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    if (bucket) {
      await page.keyboard.press("Shift+Tab");
      await page.keyboard.press("Shift+Tab");
      const on = await page.evaluate(() => document.activeElement.labels?.[0]?.textContent);
      if (on !== "Bucket") fail(`"Bucket" was expected before the origin, not "${on}"`);
      await page.keyboard.type(bucket);
    }
    await tabTo(page, "Alternate names (CNAMEs)");
    await page.keyboard.type("films-console.example.com");
    await tabTo(page, "Create distribution");
    await page.keyboard.press("Enter");
    await page.getByRole("status").waitFor();
    const domain = (await page.locator(".lead").textContent()).split(", ")[1];
    const distribution = (await page.locator("h1").textContent()).trim();
    say("created", { id: distribution, domain, status: (await statusOf(page).textContent()).trim(), escaped: await page.getByText('<script>alert("x")</script> films').count() });
    await look(page, "created");
    // Nobody reloads: the page follows by itself.
    await deployed(page);
    await look(page, "deployed");
    await page.getByRole("link", { name: "Propagation" }).click();
    await look(page, "propagation");
    say("propagation", { rows: await page.locator("tbody tr").allInnerTexts() });

    await page.getByRole("link", { name: "Player URLs" }).click();
    await page.getByLabel("Object key or stream name").fill(process.env.FILM);
    await page.getByLabel("Edge to connect to").fill(edge);
    await page.getByRole("button", { name: "Show URLs" }).click();
    await look(page, "play");
    const urls = await page.locator("tbody code").allTextContents();
    const command = await page.locator("dt", { hasText: /^rtmpdump$/ }).locator("+ dd code").textContent();
    await turn("play", { urls, command, domain });

    await page.getByRole("link", { name: "Edit" }).click();
    await look(page, "edit");
    await page.getByLabel("Comment").fill("changed in the console");
    await page.getByRole("button", { name: "Save changes" }).click();
    await page.getByRole("status").waitFor();
    await deployed(page);

    await page.getByRole("link", { name: "Tags" }).click();
    await page.getByLabel("Key").fill("team");
    await page.getByLabel("Value").fill("films");
    await page.getByRole("button", { name: "Set tag" }).click();
    await page.getByRole("rowheader", { name: "team" }).waitFor();
    await look(page, "tags");
    await page.getByRole("button", { name: "Remove the tag team" }).click();
    await page.getByText("None.").waitFor();

    await page.getByRole("link", { name: "Disable" }).click();
    await look(page, "disable");
    await page.getByRole("button", { name: "Disable distribution" }).click();
    await page.getByRole("status").waitFor();
    await page.locator(".actions .state", { hasText: "Disabled" }).waitFor();
    await deployed(page);
    await look(page, "disabled");
    await turn("disabled", { id: distribution });
    await page.getByRole("link", { name: "Delete" }).click();
    await look(page, "delete");
    await page.getByRole("button", { name: "Delete distribution" }).click();
    await page.getByText("The distribution was deleted.").waitFor();
    await look(page, "deleted");
    say("deleted", { listed: await page.getByRole("link", { name: distribution }).count() });
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("heading", { level: 1, name: "Log in" }).waitFor();
  },

  // A download distribution from create to delete, and a streaming one, both with access logs.
  async download() {
    const page = await open();
    await login(page);
    const create = async (kind) => {
      await page.goto(`${base}/distributions/new`);
      await page.getByRole("link", { name: `Create a ${kind} distribution` }).click();
      await page.getByRole("heading", { level: 1, name: `Create a ${kind} distribution` }).waitFor();
      await page.locator("#origin").fill("media.s3.amazonaws.com");
      await page.getByLabel("Write access logs to a bucket").check();
    };
    const submit = (name) => page.getByRole("button", { name }).click();
    await create("download");
    await look(page, "create");
    await page.getByLabel("Default root object").fill("index.html");
    await page.getByLabel("Viewers may use").selectOption("https-only");
    await page.getByLabel("Alternate names (CNAMEs)").fill(process.env.ALIAS);
    // Logs without a bucket: the page says so beside the field, and keeps the rest.
    await submit("Create distribution");
    await page.getByRole("alert").getByText("Say which bucket access logs go to").click();
    await look(page, "create-refused");
    const focused = await page.evaluate(() => document.activeElement.id);
    if (focused !== "log_bucket") fail(`the problem leads to "${focused}"`);
    if ((await page.getByLabel("Default root object").inputValue()) !== "index.html") fail("what was typed is gone");
    // What only the API can know is refused by its own words.
    await page.getByLabel("Log bucket").fill("no bucket");
    await submit("Create distribution");
    await page.getByRole("alert").getByText("InvalidArgument").waitFor();
    await look(page, "create-refused-by-the-api");
    await page.getByLabel("Log bucket").fill("logs.s3.amazonaws.com");
    await page.getByLabel("Log prefix").fill("web/");
    await submit("Create distribution");
    await page.getByRole("status").waitFor();
    const web = (await page.locator("h1").textContent()).trim();
    await look(page, "created");
    const shown = async () => ({ text: await page.locator("main").innerText(), state: (await statusOf(page).textContent()).trim() });
    await turn("created", { id: web, ...await shown() });

    await page.getByRole("link", { name: "Edit" }).click();
    await look(page, "edit");
    const kept = { root: await page.getByLabel("Default root object").inputValue(), policy: await page.getByLabel("Viewers may use").inputValue(),
      bucket: await page.getByLabel("Log bucket").inputValue(), prefix: await page.getByLabel("Log prefix").inputValue() };
    await page.getByLabel("Comment").fill("changed in the console");
    await page.getByLabel("Serve Smooth Streaming from the files of its presentations").check();
    await page.getByLabel("Log prefix").fill("changed/");
    await submit("Save changes");
    await page.getByRole("status").waitFor();
    await look(page, "edited");
    await turn("edited", { kept, ...await shown() });

    await page.getByRole("link", { name: "Disable" }).click();
    await look(page, "disable");
    await submit("Disable distribution");
    await page.locator(".actions .state", { hasText: "Disabled" }).waitFor();
    await deployed(page);
    await look(page, "disabled");
    await page.getByRole("link", { name: "Delete" }).click();
    await look(page, "delete");
    await submit("Delete distribution");
    await page.getByText("The distribution was deleted.").waitFor();
    await look(page, "deleted");
    say("deleted", { listed: await page.getByRole("link", { name: web }).count() });

    await create("streaming");
    await page.getByLabel("Log bucket").fill("logs.s3.amazonaws.com");
    await page.getByLabel("Log prefix").fill("films/");
    await submit("Create distribution");
    await page.getByRole("status").waitFor();
    await look(page, "streaming-with-logs");
    await turn("streaming", { id: (await page.locator("h1").textContent()).trim(), ...await shown() });
  },

  // A public key, a key group of it and an identity: added, refused where they can't be, and deleted.
  async keys() {
    const page = await open();
    await login(page);
    const submit = (name) => page.getByRole("button", { name, exact: true }).click();
    const row = (name) => page.getByRole("row").filter({ hasText: name });
    const idOf = async (name) => (await row(name).getByRole("rowheader").textContent()).trim();
    const none = (name) => page.locator("section", { has: page.getByRole("heading", { name }) }).getByText("None.").waitFor();
    await page.goto(`${base}/keys/public`);
    await page.getByLabel("Name").fill("console-key");
    await page.locator("#encoded_key").fill("-----BEGIN PUBLIC KEY-----\nnothing\n-----END PUBLIC KEY-----");
    await submit("Add public key");
    await page.getByRole("alert").waitFor();
    await look(page, "key-refused");
    if ((await page.getByLabel("Name").inputValue()) !== "console-key") fail("what was typed is gone");
    await page.locator("#encoded_key").fill(process.env.PUBLIC_KEY);
    await page.getByLabel("Comment").fill("signs films");
    await submit("Add public key");
    await row("console-key").waitFor();
    await look(page, "key-added");
    const key = await idOf("console-key");

    await page.goto(`${base}/keys/groups`);
    await page.getByLabel("Name").fill("console-group");
    await page.locator("#keys").fill("KNOPE");
    await submit("Add key group");
    await page.getByRole("alert").waitFor();
    await look(page, "group-refused");
    await page.locator("#keys").fill(key);
    await page.getByLabel("Comment").fill("all signers");
    await submit("Add key group");
    await row("console-group").waitFor();
    await look(page, "group-added");
    const group = await idOf("console-group");

    await page.goto(`${base}/keys/identities`);
    await page.getByLabel("Comment").fill("for the vault");
    await submit("Add identity");
    await row("for the vault").waitFor();
    await look(page, "identity-added");
    const identity = await idOf("for the vault");
    await turn("added", { key, group, identity });

    // In use it stays, and the page says why.
    await page.goto(`${base}/keys/public`);
    await submit(`Delete ${key}`);
    await page.getByText("PublicKeyInUse").waitFor();
    await look(page, "key-in-use");
    await page.goto(`${base}/keys/groups`);
    await submit(`Delete ${group}`);
    await none("Key groups");
    await look(page, "group-deleted");
    await page.goto(`${base}/keys/public`);
    await submit(`Delete ${key}`);
    await none("Public keys");
    await look(page, "key-deleted");
    await page.goto(`${base}/keys/identities`);
    await submit(`Delete ${identity}`);
    await none("Origin access identities");
    await look(page, "identity-deleted");
    await turn("deleted");
  },

  // Every other page, in the dark and in a narrow window.
  async tour() {
    const page = await open({ colorScheme: "dark", viewport: { width: 420, height: 800 } });
    await login(page);
    for (const [name, path] of Object.entries({
      list: "/distributions", kinds: "/distributions/new", web: "/distributions/new/web", nodes: "/nodes", keys: "/keys",
      public: "/keys/public", groups: "/keys/groups", identities: "/keys/identities", nowhere: "/nowhere",
    })) {
      await page.goto(`${base}${path}`);
      await look(page, name);
    }
    await page.goto(`${base}/keys/identities`);
    await page.getByLabel("Comment").fill("for the vault");
    await page.getByRole("button", { name: "Add identity" }).click();
    await page.getByRole("cell", { name: "for the vault" }).waitFor();
    await look(page, "identity-made");
    say("identity", { id: await page.locator("tbody th").first().textContent() });
  },

  // Without script everything works; a status is then looked at again by loading the page.
  async scriptless() {
    const page = await open({ javaScriptEnabled: false });
    await login(page);
    await page.getByRole("link", { name: "Create distribution" }).click();
    await page.getByRole("link", { name: "Create a streaming distribution" }).click();
    await page.locator("#origin").fill("media.s3.amazonaws.com");
    await page.getByRole("button", { name: "Create distribution" }).click();
    await page.getByRole("status").waitFor();
    const distribution = (await page.locator("h1").textContent()).trim();
    for (let tries = 0; tries < 120 && !(await page.locator(".actions .state", { hasText: "Deployed" }).count()); tries += 1) {
      await page.waitForTimeout(500);
      await page.reload();
    }
    await page.screenshot({ path: `${folder}/${story}-deployed.png`, fullPage: true });
    say("deployed", { id: distribution, status: (await statusOf(page).textContent()).trim() });
    // Two windows edit the same distribution: the later one is told.
    const other = await page.context().newPage();
    await other.goto(`${base}/distributions/${distribution}/edit`);
    await page.goto(`${base}/distributions/${distribution}/edit`);
    await other.getByLabel("Comment").fill("theirs");
    await other.getByRole("button", { name: "Save changes" }).click();
    await other.getByRole("status").waitFor();
    await page.getByLabel("Comment").fill("mine");
    await page.getByRole("button", { name: "Save changes" }).click();
    await page.getByRole("alert").waitFor();
    await page.screenshot({ path: `${folder}/${story}-overtaken.png`, fullPage: true });
    const told = await page.locator("main").innerText();
    const kept = await page.getByLabel("Comment").inputValue();
    await page.getByRole("button", { name: "Save changes" }).click();
    await page.getByRole("status").waitFor();
    say("overtaken", { told: told.includes("theirs") && told.includes("PreconditionFailed"), kept, saved: await page.getByText("mine").count() });
  },
};

try {
  await stories[story]();
  say("end");
} catch (error) {
  for (const context of browser.contexts()) for (const page of context.pages()) {
    await page.screenshot({ path: `${folder}/${story}-failed.png`, fullPage: true }).catch(() => {});
    say("at", { url: page.url(), text: (await page.locator("main").innerText().catch(() => "")).slice(0, 2000) });
  }
  say("failed", String(error.stack ?? error));
  process.exitCode = 1;
} finally {
  await browser.close();
  process.stdin.destroy();
}

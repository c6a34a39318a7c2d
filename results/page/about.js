// How the page is to be read.

const TERMS = {
  Setting:
    "One method on one data set under one protocol and budget, with the same configuration in every run; its runs differ in " +
    "the seed alone. What another laboratory ran is a setting of its own.",
  Score:
    "Of the epoch and sub-head that the method's own loss prefers: no label chose anything that is ranked. ACC matches " +
    "clusters and classes one to one, many-to-one ACC gives each cluster its most frequent class. On label maps all scores are " +
    "per pixel.",
  Gap: "Points of ACC that a choice by labels (oracle) would add. It ranks nothing.",
  Tier:
    "Settings that their seeds cannot tell apart share one: every pair is tested, with correction for their number. Of fewer " +
    "than three seeds nothing is claimed. Ranks hold within one data set, copy of it and protocol.",
  Rank: "Which places the seeds of one setting allow (bootstrap). Not corrected for the number of settings, so a tier may be wider.",
  Interval: "Bootstrap interval of the mean over the seeds.",
  "†":
    "There is something to know beside the mean: changed settings, few seeds, another copy of the data. The setting's page " +
    "says what.",
  Time:
    "Of a seed with evaluation, on the machine that ran it. Budgets differ in what they spend: filter for one to compare " +
    "methods alone.",
};

function aboutView(store) {
  const missing = store.all.filter((run) => !store.hasDetails(run)).length;
  const there = plural(store.all.length - missing, "run");
  const large =
    "Of so many settings only ACC has tiers and intervals, and only the best of each ranking are told how many seeds they lack.";
  return [
    make("h1", { tabindex: "-1" }, "How to read it"),
    make(
      "dl",
      { class: "terms" },
      Object.entries(TERMS).map(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]),
    ),
    section(
      "What is in the page",
      list([
        `${plural(store.all.length, "run")} with settings, provenance and scores.`,
        `${there} with curves, confusion matrix and clusters, as far as their records keep them.`,
        ...(store.isLarge ? [large] : []),
        ...(missing ? [leftOut(missing)] : []),
        "Nothing is loaded from anywhere: the page may be kept, mailed or opened without a network.",
        "Every view has an address of its own that can be linked to.",
      ]),
    ),
  ];
}

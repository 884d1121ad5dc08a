def write_report(runs, out):
    return runs[0].folder / "report.html"
